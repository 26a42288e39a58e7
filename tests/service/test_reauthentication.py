"""New credentials on an open WebSocket: it holds as long as they do, for the same principal alone, and no longer than it may."""
import json
import pathlib
import sys
import time

import pytest
import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import Api  # noqa: E402
from journal import Journal  # noqa: E402
from token_issuer import ISSUER, SECRET, issuer, stores  # noqa: E402, F401 (fixtures by name)


@pytest.fixture(scope="module")
def gateways(stores, issuer):
    settings = {"gateway": {"jwt": {"issuer": ISSUER, "keys": issuer.url, "secret": SECRET, "skew": "0s"}, "limit_exempt": "127.0.0.0/8", "key_pepper": "p" * 40}}
    return [stores.gateway(settings) for _ in range(2)]


@pytest.fixture(scope="module")
def document(gateways):
    return Api(gateways[0].api, gateways[0].admin).document


class Connection:
    def __init__(self, gateway, document, credentials):
        header = {"Authorization": f"Bearer {credentials}"} if credentials else {}
        self.ws = websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, header=header)
        self.document, self.seen, self.number = document, [], 0

    def next(self):
        """A message, or the code and reason of the end."""
        while True:
            opcode, data = self.ws.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()
            if opcode == websocket.ABNF.OPCODE_TEXT:
                message = json.loads(data)
                self.document.named(message, "WsPush" if "event" in message else "WsNotice" if "notice" in message else "WsReply")
                return message

    def ask(self, method, **params):
        """The answer's result, or its error; what comes before it is seen."""
        self.number += 1
        self.ws.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = self.next()
            assert isinstance(message, dict), message
            if message.get("id") == self.number:
                return message.get("result") or message["error"]
            self.seen.append(message)

    def until(self, wanted):
        while True:
            message = self.seen.pop(0) if self.seen else self.next()
            if wanted(message):
                return message

    def alive(self):
        return "pong" in self.ask("ping")


def ending(seconds):
    return int(time.time()) + seconds


def test_a_connection_outlives_its_first_token(gateways, document, issuer):
    end = ending(12)
    connection = Connection(gateways[0], document, issuer.token(exp=end))
    notice = connection.until(lambda m: "notice" in m)["notice"]
    assert notice["at_ms"] == end * 1000 and 0 < notice["in_ms"] <= 12000, "told before the end, when half of a short life is over"
    later = ending(600)
    assert connection.ask("authenticate", token=issuer.token("e1", exp=later)) == {"authenticated": "token:alice", "until_ms": later * 1000, "scopes": ["read", "stream"]}
    stack.wait_until("the first token's end", 60, lambda: time.time() > end + 1)
    assert connection.alive() and connection.ask("subscribe", topic="blocks", chain="dev")["subscription"]
    # A shorter one counts, too: the newest credentials are what it holds by.
    soon = ending(6)
    assert connection.ask("authenticate", token=issuer.token(exp=soon))["until_ms"] == soon * 1000
    assert connection.until(lambda m: "notice" in m)["notice"]["at_ms"] == soon * 1000
    code, reason = connection.until(lambda m: isinstance(m, tuple))
    assert code == 3000 and "have ended" in reason and time.time() >= soon


def test_only_for_the_same_principal_and_with_good_credentials(gateways, document, issuer, stores):
    connection = Connection(gateways[0], document, issuer.token(exp=ending(600)))
    for params, code in (({"token": issuer.token(sub="bob")}, "identity_changed"), ({"key": stack.ADMIN_KEY}, "identity_changed"),
                         ({"token": issuer.token(exp=ending(-5))}, "unauthorized"), ({"token": issuer.token(aud="other")}, "unauthorized"), ({"key": "no key"}, "invalid_request"),
                         ({"key": "weir_" + "0" * 52}, "unauthorized"), ({}, "invalid_request"), ({"key": "a", "token": "b"}, "invalid_request"), ({"token": 5}, "invalid_request"),
                         ({"token": ""}, "invalid_request"), ({"token": "a\r\nX: b"}, "invalid_request"), ({"token": "a" * 9000}, "invalid_request"), ({"password": "x"}, "invalid_request")):
        assert connection.ask("authenticate", **params)["code"] == code, params
    assert connection.alive() and connection.ask("subscribe", topic="blocks", chain="dev")["subscription"], "the old credentials hold"
    nobody = Connection(gateways[0], document, None)
    assert nobody.ask("authenticate", token=issuer.token())["code"] == "identity_changed" and nobody.alive()
    log = gateways[0].log.read_text()
    assert issuer.token(sub="bob").split(".")[0] + "." not in log and stack.ADMIN_KEY not in log


def test_subscriptions_end_with_the_scope(gateways, document, issuer, stores):
    journal = Journal(stores)
    connection = Connection(gateways[0], document, issuer.token(exp=ending(600)))
    subscriptions = {connection.ask("subscribe", topic=topic, chain="dev")["subscription"] for topic in ("blocks", "chain_status")}
    assert connection.ask("authenticate", token=issuer.token(scope="read", exp=ending(600)))["scopes"] == ["read"]
    ended = [connection.until(lambda m: "event" in m) for _ in subscriptions]
    assert {p["subscription"] for p in ended} == subscriptions
    assert {(p["event"]["type"], p["event"]["reason"]) for p in ended} == {("ended", "the new credentials lack the scope stream")}
    assert connection.ask("subscribe", topic="blocks", chain="dev")["code"] == "forbidden"
    # With the scope back it goes on where it was told that it ended.
    assert connection.ask("authenticate", token=issuer.token(exp=ending(600)))["scopes"] == ["read", "stream"]
    assert connection.ask("subscribe", topic="blocks", chain="dev", **{"from": {"offset": ended[0]["offset"]}})["subscription"]
    journal.write(journal.apply(b"\xa1" * 32))
    assert connection.until(lambda m: "event" in m)["event"]["hash"] == "0x" + "a1" * 32


def test_revoked_elsewhere_it_ends_here(gateways, document):
    """A key shown again does not outlive its revocation on another instance."""
    made = gateways[0].operate("POST", "keys", {"name": "follower", "scopes": ["read", "stream"]})
    assert made[0] == 201, made
    key = made[1]["key"]
    connection = stack.wait_until("the key on both", 60, lambda: opened(gateways[1], document, key))
    answer = connection.ask("authenticate", key=key)
    assert answer["authenticated"].startswith("follower#") and answer["until_ms"] is None
    assert gateways[0].operate("POST", f"keys/{made[1]['id']}/revoke", {"why": "a test"})[0] == 200
    code, reason = connection.until(lambda m: isinstance(m, tuple))
    assert code == 1008 and "revoked" in reason


def opened(gateway, document, key):
    try:
        return Connection(gateway, document, key)
    except websocket.WebSocketBadStatusException:
        return None
