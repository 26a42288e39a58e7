"""What librdkafka's mock cluster lacks of a broker: TLS, and accounts (SASL PLAIN, SCRAM-SHA-256 and -512) in front of it. Whoever is let in speaks with the
mock itself; its address in the answers becomes this one's, so that no connection goes past it.

Kafka's protocol: https://kafka.apache.org/protocol (framing, ApiVersions, SaslHandshake, SaslAuthenticate); SCRAM: RFC 5802 and RFC 7677."""
import base64
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import threading

API_VERSIONS, HANDSHAKE, AUTHENTICATE = 18, 17, 36
UNSUPPORTED_MECHANISM, UNSUPPORTED_VERSION, AUTHENTICATION_FAILED = 33, 35, 58
DIGESTS = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


class Refused(Exception):
    """Whoever is there is not let in."""


class Scram:
    """One authentication, as the server sees it."""

    def __init__(self, digest, users):
        self.digest, self.users, self.stored = digest, users, None

    def hmac(self, key, text):
        return hmac.new(key, text, self.digest).digest()

    def first(self, message):
        bare = message.decode().split(",", 2)[2]
        fields = dict(part.split("=", 1) for part in bare.split(","))
        self.user, salt, rounds = fields["n"], os.urandom(16), 4096
        if self.user not in self.users:
            raise Refused(self.user)
        self.salted = hashlib.pbkdf2_hmac(self.digest, self.users[self.user].encode(), salt, rounds)
        answer = f"r={fields['r']}{os.urandom(12).hex()},s={base64.b64encode(salt).decode()},i={rounds}"
        self.stored = f"{bare},{answer}"
        return answer.encode()

    def final(self, message):
        without, proof = message.decode().rsplit(",p=", 1)
        signed = f"{self.stored},{without}".encode()
        key = self.hmac(self.salted, b"Client Key")
        wanted = bytes(a ^ b for a, b in zip(key, self.hmac(hashlib.new(self.digest, key).digest(), signed)))
        if not hmac.compare_digest(wanted, base64.b64decode(proof)):
            raise Refused(self.user)
        return b"v=" + base64.b64encode(self.hmac(self.hmac(self.salted, b"Server Key"), signed))


class Door:
    """One connection: requests are looked at until its account is known, then only addresses are."""

    def __init__(self, front, client):
        self.front, self.client, self.user, self.mechanism, self.scram, self.asked = front, client, None, None, None, None
        self.server = socket.create_connection(front.broker)

    def answer(self, correlation, body):
        self.client.sendall(struct.pack(">ii", 4 + len(body), correlation) + body)

    def authenticate(self, message):
        """The account's next word, and what it is told."""
        if self.mechanism == "PLAIN":
            _, user, password = message.decode().split("\0")
            if self.front.users.get(user) != password:
                raise Refused(user)
            self.user = user
            return b""
        if not self.scram:
            self.scram = Scram(DIGESTS[self.mechanism], self.front.users)
            return self.scram.first(message)
        told = self.scram.final(message)
        self.user = self.scram.user
        return told

    def request(self, frame):
        """False: the connection ends."""
        key, version, correlation, name = struct.unpack_from(">hhih", frame)
        body = frame[10 + max(name, 0):]
        if key == API_VERSIONS and version > 0: # as brokers answer a version that they do not know: in the oldest one's shape
            self.answer(correlation, struct.pack(">hihhh", UNSUPPORTED_VERSION, 1, API_VERSIONS, 0, 0))
        elif key == HANDSHAKE:
            self.mechanism = body[2:].decode()
            known = self.mechanism in ("PLAIN", *DIGESTS)
            self.answer(correlation, struct.pack(">hi", 0 if known else UNSUPPORTED_MECHANISM, 0))
            return known
        elif key == AUTHENTICATE:
            try:
                told = self.authenticate(body[4:])
                self.answer(correlation, struct.pack(">hhi", 0, -1, len(told)) + told + (b"\0" * 8 if version else b""))
            except Refused as refused:
                self.front.refused.append(str(refused))
                self.answer(correlation, struct.pack(">hh14si", AUTHENTICATION_FAILED, 14, b"wrong password", 0) + (b"\0" * 8 if version else b""))
                return False
            if self.user:
                self.front.let_in.append((self.user, self.mechanism, self.client.version()))
        elif key == API_VERSIONS or self.user:
            self.asked = correlation if key == API_VERSIONS else self.asked
            self.server.sendall(struct.pack(">i", len(frame)) + frame)
        else:
            return False
        return True

    def response(self, frame):
        if self.asked is not None and struct.unpack_from(">i", frame)[0] == self.asked:
            error, count = struct.unpack_from(">hi", frame, 4)
            frame = frame[:4] + struct.pack(">hi", error, count + 2) + frame[10:] + struct.pack(">6h", HANDSHAKE, 0, 1, AUTHENTICATE, 0, 1)
            self.asked = None
        frame = frame.replace(b"127.0.0.1" + struct.pack(">i", self.front.broker[1]), b"localhost" + struct.pack(">i", self.front.port)) # of one length
        self.client.sendall(struct.pack(">i", len(frame)) + frame)
        return True

    def serve(self):
        held = {self.client: b"", self.server: b""}
        takes = {self.client: self.request, self.server: self.response}
        try:
            while True:
                ready = [self.client] if self.client.pending() else select.select([self.client, self.server], [], [])[0]
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    held[end] += data
                    while len(held[end]) >= 4 and len(held[end]) >= 4 + (size := struct.unpack_from(">i", held[end])[0]):
                        frame, held[end] = held[end][4:4 + size], held[end][4 + size:]
                        if not takes[end](frame):
                            return
        except (OSError, ValueError):
            pass
        finally:
            self.client.close()
            self.server.close()


class Front:
    """users: name -> password, may be changed at any time. let_in, refused: who came."""

    def __init__(self, hosts, certificate, users):
        host, port = hosts.split(":")
        self.broker, self.users, self.let_in, self.refused, self.doors = (host, int(port)), users, [], [], []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.meet, args=(client,), daemon=True).start()

    def meet(self, client):
        try:
            client.settimeout(30)
            client = self.context.wrap_socket(client, server_side=True)
            client.settimeout(None)
            door = Door(self, client)
        except OSError:
            client.close()
            return
        self.doors.append(door)
        door.serve()

    def drop(self):
        """All that are connected have to come again."""
        doors, self.doors = self.doors, []
        for door in doors:
            for end in (door.client, door.server):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
        self.drop()
