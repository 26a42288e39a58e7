"""What alerts go to in tests: an HTTP server that keeps what is posted, a strict SMTP server, and a node that can be taken away."""
import base64
import email
import email.policy
import http.server
import json
import re
import select
import socket
import threading


class Posts:
    """Keeps the JSON bodies that are posted, by path."""

    def __init__(self):
        self.bodies, self.status, self.failing = [], 200, {} # failing: how often, by path
        posts = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                posts.bodies.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                fails = posts.failing.get(self.path, 0)
                posts.failing[self.path] = fails - 1
                self.send_response(500 if fails > 0 else posts.status)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def at(self, path):
        return [body for where, body in self.bodies if where == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Smtp:
    """One mail server that takes nothing but what RFC 5321 allows; offers AUTH PLAIN, and no TLS."""

    def __init__(self):
        self.mails, self.faults, self.logins, self.connections = [], [], [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(30)
                try:
                    self.talk(connection, connection.makefile("rb", buffering=0))
                except OSError:
                    pass

    def line(self, stream):
        """One line, which must end with CRLF and be no longer than allowed."""
        line = b""
        while not line.endswith(b"\n"):
            byte = stream.read(1)
            if not byte:
                raise OSError("closed")
            line += byte
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or len(line) > 1000:
            self.faults.append(line)
        return line[:-2].decode()

    def talk(self, connection, stream):
        say = lambda text: connection.sendall(text.encode() + b"\r\n")  # noqa: E731
        sender, receivers = None, []
        say("220 mail.test ESMTP")
        while True:
            line = self.line(stream)
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                say("250-mail.test\r\n250-AUTH PLAIN\r\n250 8BITMIME")
            elif verb == "AUTH":
                say("334 ")
                words = line.split(" ")[2:] or [self.line(stream)]
                self.logins.append(base64.b64decode(words[0]).split(b"\0")[1:])
                say("235 welcome")
            elif re.fullmatch(r"MAIL FROM:<[^<>\s]+@[^<>\s]+>( \S+)*", line) and sender is None:
                sender = line.split("<")[1].split(">")[0]
                say("250 ok")
            elif re.fullmatch(r"RCPT TO:<[^<>\s]+@[^<>\s]+>", line) and sender:
                receivers.append(line.split("<")[1].split(">")[0])
                say("250 ok")
            elif verb == "DATA" and receivers:
                say("354 go on")
                lines = []
                while (part := self.line(stream)) != ".":
                    lines.append(part.removeprefix("."))
                text = "\r\n".join(lines).encode()
                self.mails.append((sender, receivers, email.message_from_bytes(text, policy=email.policy.default)))
                sender, receivers = None, []
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                self.faults.append(line)
                say("500 what?")

    def close(self):
        self.listener.close()
        assert not self.faults, self.faults


class Door:
    """A TCP relay in front of a node that can be shut: then connections are refused."""

    def __init__(self, port):
        self.port, self.listener, self.connections = port, None, []
        self.address = None
        self.open()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.address[1] if self.address else 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.serve, args=(self.listener,), daemon=True).start()

    def shut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections = []

    def serve(self, listener):
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            self.connections += [near, far]
            threading.Thread(target=self.relay, args=(near, far), daemon=True).start()

    @staticmethod
    def relay(near, far):
        with near, far:
            while True:
                try:
                    for ready in select.select([near, far], [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        (far if ready is near else near).sendall(data)
                except (OSError, ValueError):
                    return
