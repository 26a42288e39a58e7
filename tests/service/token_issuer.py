"""An issuer of JSON Web Tokens with keys of three kinds, and the fixtures of tests that need one beside private stores."""
import base64
import http.server
import json
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from gateway_alone import Stores

ISSUER, SECRET = "https://issuer.example", "s" * 32


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Keys, and an HTTP server that tells the public ones."""

    def __init__(self):
        self.rsa, self.ec = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
        self.published, self.asked, self.status = ["r1", "e1"], 0, 200
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                body = issuer.set().encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def set(self):
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        keys = []
        for kid in self.published:
            if kid[0] == "r":
                keys.append({"kty": "RSA", "kid": kid, "use": "sig", "n": url64(r.n.to_bytes(256, "big")), "e": "AQAB"})
            else:
                keys.append({"kty": "EC", "kid": kid, "crv": "P-256", "x": url64(e.x.to_bytes(32, "big")), "y": url64(e.y.to_bytes(32, "big"))})
        return json.dumps({"keys": keys})

    def token(self, kid="r1", alg=None, key=None, headers=None, **claims):
        alg = alg or {"r": "RS256", "e": "ES256", "": "HS256"}[kid[:1]]
        key = key or {"RS256": self.rsa, "ES256": self.ec, "HS256": SECRET}[alg]
        claims = {"iss": ISSUER, "aud": "weir", "sub": "alice", "exp": int(time.time()) + 60, "scope": "read stream"} | claims
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, alg, {**({"kid": kid} if kid else {}), **(headers or {})})


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("tokens"))
    yield stores
    stores.stop()
