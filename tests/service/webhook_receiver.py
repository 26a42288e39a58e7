"""A receiver of webhooks: an HTTP server that checks what the Standard Webhooks specification says, keeps books, and misbehaves on demand."""
import base64
import collections
import hashlib
import hmac
import http.server
import json
import re
import ssl
import subprocess
import threading
import time


def make_ca(folder, names="DNS:localhost,IP:127.0.0.1"):
    """A certificate authority for this test, and a certificate of it for these names: (the authority's file, the server's file)."""
    ca, key, server = folder / "ca.pem", folder / "server.key", folder / "server.pem"
    (folder / "extensions").write_text(f"subjectAltName={names}\n")
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in ([*new, "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", folder / "ca.key", "-out", ca],
                    [*new, "-subj", "/CN=localhost", "-keyout", key, "-out", folder / "server.csr"],
                    ["openssl", "x509", "-req", "-in", folder / "server.csr", "-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2",
                     "-extfile", folder / "extensions", "-out", server]):
        subprocess.run(command, check=True, capture_output=True)
    server.write_text(server.read_text() + key.read_text())
    return ca, server


def signature(secret, id, timestamp, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()


class Message:
    def __init__(self, headers, body):
        self.headers, self.body = headers, body
        self.id, self.timestamp, self.signatures = headers["webhook-id"], int(headers["webhook-timestamp"]), headers["webhook-signature"].split(" ")
        self.json = json.loads(body)
        self.type, self.data = self.json["type"], self.json["data"]

    def signed_by(self, secret):
        return signature(secret, self.id, self.timestamp, self.body) in self.signatures


class Receiver:
    """answer(message, n) gives the status, or (status, headers, body); n counts the tries of that message from 1. None: no answer at all."""

    def __init__(self, certificate=None, answer=None):
        self.answer = answer or (lambda message, n: 200)
        self.secrets, self.lock = [], threading.Lock()
        self.tries, self.taken, self.faults = [], [], []
        self.count, self.open, self.most_open = collections.Counter(), collections.Counter(), 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.handle(self)

            def do_GET(self):
                receiver.faults.append("GET " + self.path)
                self.send_error(405)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.server.server_address[1]}/hook/token-in-path?and=query"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, request):
        body = request.rfile.read(int(request.headers["content-length"]))
        message = Message(request.headers, body)
        lane = message.data.get("account") or ""
        with self.lock:
            self.check(request, message)
            self.tries.append(message)
            self.count[message.id] += 1
            self.open[lane] += 1
            self.most_open = max(self.most_open, self.open[lane])
            number = self.count[message.id]
        answer = self.answer(message, number)
        status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, b"")
        with self.lock:
            self.open[lane] -= 1
            if status and 200 <= status < 300:
                self.taken.append(message)
        if status is None:
            request.close_connection = True
            return
        try:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(text)))
            request.end_headers()
            request.wfile.write(text)
        except (ConnectionError, ssl.SSLError):
            pass

    def check(self, request, message):
        """What must hold of every try."""
        faults = [
            (request.headers["content-type"] == "application/json", "content-type"),
            (re.fullmatch(r"msg_[0-9a-f]{32}", message.id), "webhook-id " + message.id),
            (abs(message.timestamp - time.time()) < 60, "webhook-timestamp"),
            (set(message.json) == {"type", "timestamp", "data"} and message.data["type"] == message.type, "body"),
            (not self.secrets or any(message.signed_by(s) for s in self.secrets), "signature"),
            (request.path == "/hook/token-in-path?and=query", "path " + request.path),
            (request.headers["user-agent"].startswith("weir-webhooks/"), "user-agent"),
        ]
        self.faults += [words for good, words in faults if not good]

    def unique(self):
        """What a receiver that looks at webhook-id has taken, in the order of the first time."""
        with self.lock:
            return list({m.id: m for m in self.taken}.values())

    def held(self):
        """Ids that were told of and not taken back."""
        held = {}
        for message in self.unique():
            if message.type == "retracted":
                for key in message.data["ids"]:
                    assert key in held, f"taken back but never told of: {key}"
                    del held[key]
            elif "id" in message.data:
                assert message.data["id"] not in held, f"told of twice: {message.data}"
                held[message.data["id"]] = message.data
        return held

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        assert not self.faults, self.faults[:5]
