"""Idempotency-Key on every POST that there is: carried out once, answered the same again, in flight 409, another request 422."""
import hashlib
import json
import pathlib
import socket
import sys
import threading
import urllib.error
import urllib.request

import pytest
import redis as redis_client

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from test_gateway_keys import PEPPER  # noqa: E402

DOCUMENT = json.loads((ROOT / "services" / "gateway" / "api" / "openapi.json").read_text())
POSTS = {path: operations["post"] for path, operations in DOCUMENT["paths"].items() if "post" in operations} # a test of the table's says that these are all
SECRET = ["/admin/v1/keys", "/admin/v1/login", "/admin/v1/logout", "/admin/v1/refresh", "/admin/v1/users", "/admin/v1/users/{name}/password", "/admin/v1/webhooks",
          "/admin/v1/webhooks/{id}/rotate"]
KEPT = sorted(set(POSTS) - set(SECRET))
PLACES = {"chain": "dev", "id": "1-1", "subscription": "normalizer", "watchlist": "1", "name": "a-name", "delivery": "1"}
VALUES = {"chain": "dev", "subscription": "normalizer", "lines": "{}", "body": "AA==", "why": "a test", "reason": "a test", "expires_in": 1, "jti": "a-token", "from_height": 1, "to_height": 0, "name": "a-name",
          "role": "viewer", "pattern": "a*", "seconds": 1, "paths": ["/v1/chains"], "addresses": ["0x" + "12" * 20], "user": "nobody", "password": "a long password",
          "scopes": ["read"], "url": "http://127.0.0.1:9/", "topic": "blocks"}
# What takes one of several members says so in words only.
MORE = {"/admin/v1/tokens/revoked": ["jti"], "/admin/v1/dlq/purge": ["all"], "/admin/v1/webhooks/{id}/replay": ["all"]}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("idempotency"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def gateways(stores):
    settings = stack.merge(PEPPER, {"webhooks": {"encryption_key": "A" * 43 + "=", "allow_loopback": True}, "gateway": {"session_secret": "the-session-secret-of-these-tests", "trusted_proxies": "127.0.0.0/8", "limit_exempt": "0.0.0.0/0"}})
    return [stores.gateway(settings) for _ in range(2)]


@pytest.fixture(scope="module")
def redis(stores):
    return redis_client.Redis(unix_socket_path=str(stores.redis.socket))


def body_of(path):
    schema = POSTS[path].get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    body = {name: VALUES[name] for name in schema.get("required", [])}
    return json.dumps(body | {name: VALUES.get(name, True) for name in MORE.get(path, [])})


def target_of(path):
    return path.format(**PLACES)


def post(gateway, path, body, key, credentials=stack.ADMIN_KEY, address="192.0.2.1"):
    """(status, text, replayed?)"""
    base = gateway.admin if path.startswith("/admin/") else gateway.api
    headers = {"Content-Type": "application/json", "X-Forwarded-For": address, **({"Idempotency-Key": key} if key else {}), **({"X-Api-Key": credentials} if credentials else {})}
    request = urllib.request.Request(base + target_of(path), data=body.encode(), headers=headers, method="POST")
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.read().decode(), answer.headers.get("Idempotency-Replayed")


def code(answer):
    return answer[0], json.loads(answer[1])["code"]


def hold(redis, path, body, key, who=("local",)):
    """As a gateway does that has the request in hand."""
    def digest(*texts, rest=b""):
        return hashlib.sha256(b"".join(t.encode() + b"\0" for t in texts) + rest).hexdigest()
    # IDEMPOTENCY_KEY_FORMAT of weir/streams.h
    template = next(line.split('"')[1] for line in (ROOT / "proto" / "weir" / "streams.h").read_text().splitlines() if "IDEMPOTENCY_KEY_FORMAT" in line)
    name = template.replace("%s", digest(*who, key))
    redis.set(name, f"{digest('POST', target_of(path), rest=body.encode())} 0123456789abcdef", px=60000)
    return name


@pytest.mark.parametrize("path", KEPT)
def test_every_post_that_may_be_repeated(gateways, redis, path):
    body, key = body_of(path), f"key of {path}".replace(" ", "-")
    first = post(gateways[0], path, body, key)
    assert first[0] < 500 and first[2] is None, first
    assert code(first)[1] not in ("invalid_parameter", "invalid_body", "path_unknown") if first[0] >= 400 else True, f"the test must ask for something that could be: {first}"
    assert post(gateways[1], path, body, key) == (*first[:2], "true"), "the same answer, on any gateway, and nothing done"
    for other in (body + " ", json.dumps(json.loads(body) | {"unknown": 1})):
        assert code(post(gateways[0], path, other, key)) in ((422, "idempotency_key_reused"), (400, "invalid_body"))
    assert code(post(gateways[0], path, body + " ", key)) == (422, "idempotency_key_reused")
    name = hold(redis, path, body, key + "-held")
    assert code(post(gateways[0], path, body, key + "-held")) == (409, "idempotency_in_flight")
    redis.delete(name)
    again = post(gateways[0], path, body, key + "-held")
    assert again[2] is None and again[0] < 500, "whoever held it is gone: carried out"
    # Another principal's key of the same name is another one.
    assert post(gateways[0], path, body, key, "viewer-key-0123456789")[2] is None


@pytest.mark.parametrize("path", SECRET)
def test_what_has_a_secret_is_carried_out_once_and_its_answer_kept_nowhere(gateways, redis, path):
    body, key = body_of(path), f"key of {path}".replace(" ", "-")
    first = post(gateways[0], path, body, key)
    assert first[0] < 500 and first[2] is None, first
    assert code(first)[1] not in ("invalid_parameter", "invalid_body", "path_unknown", "idempotency_not_kept") if first[0] >= 400 else True, first
    again = post(gateways[1], path, body, key)
    assert again == (*first[:2], "true") if first[0] >= 400 else code(again) == (409, "idempotency_not_kept"), "nothing is done, on any gateway"
    assert code(post(gateways[0], path, body + " ", key)) == (422, "idempotency_key_reused")
    kept = [redis.get(name).decode() for name in redis.scan_iter("weir:*idem*", 1000)]
    secrets = [VALUES["password"]] + [value for value in json.loads(first[1]).values() if first[0] < 400 and isinstance(value, str) and value.startswith(("weir", "whsec", "eyJ"))]
    assert len(secrets) > 1 or first[0] >= 400 or path.endswith(("/users", "/password")), first
    assert not [secret for secret in secrets for text in kept if secret in text]
    plain = hashlib.sha256(b"POST\0" + target_of(path).encode() + b"\0" + body.encode()).hexdigest()
    assert not [text for text in kept if plain in text], "nor what a password could be guessed from"


def test_without_a_secret_in_the_settings_none_is_remembered(stores):
    gateway = stores.gateway()
    body = body_of("/admin/v1/users").replace("a-name", "never-made")
    assert code(post(gateway, "/admin/v1/users", body, "a-key")) == (409, "idempotency_not_kept")
    assert stores.sql("select count(*) from weir_identity.users where name = 'never-made'") == [(0,)]
    gateway.stop()


def test_without_credentials_it_is_the_address(gateways, redis):
    path, body = "/v1/batch", json.dumps({"paths": ["/v1/chains/dev/blocks/0"]})
    first = post(gateways[0], path, body, "mine", None)
    assert first[0] == 200 and first[2] is None
    assert post(gateways[1], path, body, "mine", None) == (*first[:2], "true")
    assert code(post(gateways[1], path, body_of(path), "mine", None)) == (422, "idempotency_key_reused")
    assert post(gateways[0], path, body, "mine", None, "192.0.2.2")[2] is None, "another address"
    assert post(gateways[0], path, body, "mine")[2] is None, "a key's"
    hold(redis, path, body, "held", ("", "192.0.2.1"))
    assert code(post(gateways[0], path, body, "held", None)) == (409, "idempotency_in_flight")
    assert code(post(gateways[0], path, body, "k" * 256, None)) == (400, "bad_idempotency_key")
    kept = [name for name in redis.scan_iter("weir:*idem*", 1000) if 0 < redis.pttl(name) <= 60000]
    assert kept, "nobody's answers are kept for a minute, not for a day"


class SlowWord:
    """A way to Redis that keeps back, until `on` is cleared, what it answers to commands with this word in them."""

    def __init__(self, path, word):
        self.path, self.word, self.on, self.stalled = str(path), word, threading.Event(), 0
        self.clear = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.path)
            held = threading.Event()
            threading.Thread(target=self.pump, args=(client, server, held, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, held, False), daemon=True).start()

    def pump(self, source, sink, held, asking):
        try:
            while data := source.recv(65536):
                if asking and self.on.is_set() and self.word in data:
                    held.set()
                with self.clear:
                    if not asking and held.is_set():
                        self.stalled += 1
                        self.clear.wait_for(lambda: not self.on.is_set())
                        self.stalled -= 1
                        held.clear()
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def go_on(self):
        with self.clear:
            self.on.clear()
            self.clear.notify_all()


def test_a_look_at_dead_letters_that_takes_long_holds_up_no_POST(stores):
    way = SlowWord(stores.redis.socket, b"list_letters")
    gateway = stores.gateway(stack.merge(PEPPER, {"bus": {"redis_url": way.url}}))
    asked = [0]

    def post_while_a_look_is_out():
        """The gateway gives Redis up after a while: then there was no look that could have held anything up, and it is tried again."""
        looks = []
        way.on.set()
        looking = threading.Thread(target=lambda: looks.append(gateway.operate("GET", "dlq")[0]))
        looking.start()
        try:
            stack.wait_until("the look's question at Redis", 60, lambda: way.stalled or looks)
            asked[0] += 1
            answer = post(gateway, "/v1/watchlists", json.dumps({"chain": "dev", "name": f"n{asked[0]}"}), f"key-{asked[0]}")
            return answer[0] == 201 and not looks
        finally:
            way.go_on()
            looking.join(60)
    stack.wait_until("a POST that was answered while a look was not", 60, post_while_a_look_is_out)
    assert gateway.operate("GET", "dlq")[0] == 200
    gateway.stop()
    way.listener.close()
