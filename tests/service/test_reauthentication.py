"""Credentials on an open WebSocket: the first of one that came without any, new ones of the same principal, and no longer than they hold."""
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
        deadline = time.monotonic() + 90
        while True:
            opcode, data = self.ws.recv_data(control_frame=True)
            assert time.monotonic() < deadline, "nothing but pings"
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

    def until(self, wanted, seconds=120):
        deadline = time.monotonic() + seconds # the server's pings put off the socket's own
        while True:
            assert time.monotonic() < deadline, "not in time"
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
    """A key shown again, or for the first time in a message, does not outlive its revocation on another instance."""
    made = gateways[0].operate("POST", "keys", {"name": "follower", "scopes": ["read", "stream"]})
    assert made[0] == 201, made
    key = made[1]["key"]
    by_header, by_message = stack.wait_until("the key on both", 60, lambda: opened(gateways[1], document, key)), Connection(gateways[1], document, None)
    for connection in (by_header, by_message):
        answer = connection.ask("authenticate", key=key)
        assert answer["authenticated"].startswith("follower#") and answer["until_ms"] is None
    assert gateways[0].operate("POST", f"keys/{made[1]['id']}/revoke", {"why": "a test"})[0] == 200
    for connection in (by_header, by_message):
        code, reason = connection.until(lambda m: isinstance(m, tuple))
        assert code == 1008 and "revoked" in reason


def opened(gateway, document, key):
    try:
        return Connection(gateway, document, key)
    except websocket.WebSocketBadStatusException:
        return None


def end_of(connection):
    return connection.until(lambda m: isinstance(m, tuple))


@pytest.fixture(scope="module")
def closed(stores, issuer):
    """Nobody in particular may be here."""
    def make(**settings):
        base = {"anonymous": False, "authenticate_within": "60s", "jwt": {"issuer": ISSUER, "keys": issuer.url, "secret": SECRET, "skew": "0s"}, "limit_exempt": "127.0.0.0/8"}
        return stores.gateway({"gateway": base | settings})
    return make


def test_who_came_without_credentials_shows_them_once(gateways, document, issuer):
    """As a page of a browser must, which can send no header. From then on the connection is that principal's, as if it had."""
    connection = Connection(gateways[0], document, None)
    of_nobody = connection.ask("subscribe", topic="blocks", chain="dev")["subscription"]
    assert connection.ask("authenticate", token=issuer.token(sub="carol"))["code"] == "identity_changed", "what it has is nobody's"
    assert connection.ask("unsubscribe", subscription=of_nobody)["unsubscribed"]
    for wrong, code in ((issuer.token(sub="carol", aud="other"), "unauthorized"), (issuer.token(sub="carol", scope="read"), "forbidden")):
        assert connection.ask("authenticate", token=wrong)["code"] == code
    end = ending(600)
    assert connection.ask("authenticate", token=issuer.token(sub="carol", exp=end)) == {"authenticated": "token:carol", "until_ms": end * 1000, "scopes": ["read", "stream"]}
    assert connection.ask("subscribe", topic="blocks", chain="dev")["subscription"]
    assert "token:carol" in {c["who"] for c in gateways[0].operate("GET", "connections")[1]["items"]}
    assert connection.ask("authenticate", token=issuer.token(sub="bob"))["code"] == "identity_changed"
    end = ending(8)
    assert connection.ask("authenticate", token=issuer.token(sub="carol", scope="read", exp=end))["scopes"] == ["read"], "it has a principal now: it may give rights up"
    assert connection.until(lambda m: "notice" in m)["notice"]["at_ms"] == end * 1000
    assert end_of(connection)[0] == 3000 and time.time() >= end


def test_where_nobody_may_be_credentials_come_first(closed, document, issuer):
    gateway = closed()
    good, guess = Connection(gateway, document, None), Connection(gateway, document, None)
    notice = good.until(lambda m: "notice" in m)["notice"]
    assert notice["type"] == "credentials_needed" and 0 < notice["in_ms"] <= 60000
    assert good.ask("ping")["code"] == good.ask("subscribe", topic="blocks", chain="dev")["code"] == "unauthorized"
    assert good.ask("authenticate", key=stack.ADMIN_KEY)["authenticated"] == "local"
    assert good.alive() and good.ask("subscribe", topic="blocks", chain="dev")["subscription"]
    # Three refusals are the end, whatever they were for; with a principal there is none.
    guess.ws.send("no JSON")
    assert guess.ask("authenticate", key="weir_" + "0" * 52)["code"] == "unauthorized"
    guess.ask("authenticate", token=issuer.token(exp=ending(-5)))
    assert end_of(guess) == (3000, "nothing that this connection showed was good")
    for _ in range(4):
        assert good.ask("authenticate", key="wrong")["code"] == "unauthorized"
    assert good.alive()
    counted = {result: gateway.metric(f'weir_gateway_websocket_authentications_total{{result="{result}"}}') for result in ("accepted", "refused")}
    assert counted == {"accepted": 1, "refused": 2 + 3 + 4} and gateway.metric('weir_gateway_websocket_closed_total{reason="unauthenticated"}') == 1
    log = gateway.log.read_text()
    assert "credentials_refused" in log and stack.ADMIN_KEY not in log and "weir_000" not in log


def test_they_come_in_time_or_the_connection_ends(closed, document):
    gateway = closed(authenticate_within="1s")
    silent = Connection(gateway, document, None)
    assert silent.until(lambda m: "notice" in m)["notice"]["type"] == "credentials_needed"
    code, reason = end_of(silent)
    assert code == 3000 and "none came in time" in reason
    assert Connection(gateway, document, stack.ADMIN_KEY).alive(), "who shows them in a header is asked for nothing"


def test_those_who_showed_nothing_yet_are_few(closed, document):
    gateway = closed(max_websockets=8)
    first = [Connection(gateway, document, None) for _ in range(2)]
    for connection in first:
        connection.until(lambda m: "notice" in m)
    code, reason = end_of(Connection(gateway, document, None))
    assert code == 1013 and "yet to show" in reason
    assert first[0].ask("authenticate", key=stack.ADMIN_KEY)["authenticated"] == "local", "which makes room"
    assert Connection(gateway, document, None).until(lambda m: "notice" in m)


def test_limits_are_those_of_who_it_is_now(closed, document, issuer):
    gateway = closed(connections_per_key=2, connections_per_address=1, limit_exempt="", key_limit=3, address_limit=20)
    dora, erin = issuer.token(sub="dora"), issuer.token(sub="erin")

    def show(token):
        connection = Connection(gateway, document, None)
        connection.ws.send(json.dumps({"id": 1, "method": "authenticate", "params": {"token": token}}))
        return connection, connection.until(lambda m: isinstance(m, tuple) or m.get("id") == 1)

    held = []
    for _ in range(2): # one address may hold one that is nobody's, a key two
        connection, answer = show(dora)
        assert answer["result"]["authenticated"] == "token:dora"
        held.append(connection)
    connection, (code, reason) = show(dora)
    assert code == 1013 and "as many connections as it may" in reason

    def limited(token):
        """Is it said that a limit is used up, of whom?"""
        try:
            connection, answer = show(token)
        except websocket.WebSocketBadStatusException as error:
            assert error.status_code == 429
            return "this address"
        connection.ws.close()
        error = {} if isinstance(answer, tuple) else answer.get("error", {})
        return error["message"][:12].rstrip() if error.get("code") == "rate_limited" else None

    # The handshake costs the address one, to be somebody that one's key.
    assert stack.wait_until("the key's limit", 60, lambda: limited(erin)) == "this key has"
    # So does what is refused, until the address may not even try.
    assert stack.wait_until("the address's limit", 60, lambda: limited("not.a.token")) == "this address"


def test_tokens_are_revoked_everywhere_before_their_end(gateways, document, issuer):
    """One by its jti, all of a subject up to now: refused, and their connections cut, on every gateway; then the revocation ends as they do."""
    def made(jti, **more):
        return issuer.token(sub="frank", jti=jti, exp=ending(600), iat=int(time.time()) - 10, **more)

    def revoke(status=201, **what):
        got, answer, headers = gateways[0].operate("POST", "tokens/revoked", {"why": "a test", "expires_in": 600} | what)
        document.answer("POST", "/admin/v1/tokens/revoked", got, answer, headers)
        assert got == status, answer
        return answer

    def refused(token):
        answers = [gateway.get("/v1/chains", Authorization=f"Bearer {token}") for gateway in gateways]
        assert all(a[0] == 200 or (a[0] == 401 and "was revoked" in a[1]["detail"]) for a in answers), answers
        return all(a[0] == 401 for a in answers)
    first, second, third = made("t-1"), made("t-2"), issuer.token(sub="frank", exp=ending(600))
    held = {token: Connection(gateways[1], document, token) for token in (first, second)}
    by_message = Connection(gateways[1], document, None)
    assert by_message.ask("authenticate", token=first)["authenticated"] == "token:frank"
    one = revoke(jti="t-1")
    for connection in (held[first], by_message):
        code, reason = end_of(connection)
        assert code == 1008 and "revoked" in reason
    stack.wait_until("the token is refused", 60, lambda: refused(first))
    assert held[second].alive() and not refused(second) and not refused(third)
    all_of = revoke(subject="frank")
    assert end_of(held[second])[0] == 1008
    stack.wait_until("all of the subject are", 60, lambda: refused(second) and refused(third))
    assert not refused(issuer.token(sub="grace", jti="t-3", exp=ending(600)))
    listed = gateways[1].operate("GET", "tokens/revoked")
    document.answer("GET", "/admin/v1/tokens/revoked", *listed)
    assert [x["id"] for x in listed[1]["items"]] == [all_of["id"], one["id"]] and one["jti"] == "t-1" and all_of["subject"] == "frank"
    # Those that are issued later are good.
    def later():
        return not refused(issuer.token(sub="frank", exp=ending(600), iat=int(time.time())))
    stack.wait_until("a token issued afterwards", 60, later)
    brief = revoke(jti="t-4", expires_in=4)
    token = issuer.token(sub="heidi", jti="t-4", exp=ending(600))
    stack.wait_until("it is known and has ended", 60, lambda: brief["id"] not in [x["id"] for x in gateways[0].operate("GET", "tokens/revoked")[1]["items"]] and not refused(token))
    for wrong in ({}, {"jti": "a", "subject": "b"}):
        assert revoke(400, **wrong)["code"] == "invalid_body"
    assert gateways[0].operate("POST", "tokens/revoked", {"why": "x", "expires_in": 1, "jti": "t"}, key="viewer-key-0123456789")[0] == 403
