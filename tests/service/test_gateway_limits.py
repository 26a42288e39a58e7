"""Rate limits of gateways: by address and key, shared by Redis, and what clients are told."""
import concurrent.futures
import json
import pathlib
import re
import socket
import sys
import time
import urllib.request

import psycopg2
import pytest
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
import gateway_client  # noqa: E402, F401: lets the WebSocket client know all close codes
from gateway_alone import Stores  # noqa: E402

LIMITED = {"gateway": {"limit_exempt": "", "address_limit": 20, "key_limit": 40, "trusted_proxies": "127.0.0.0/8"}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("limits"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def pair(stores):
    return stores.gateway(LIMITED), stores.gateway(LIMITED)


def ask(gateway, client, **headers):
    return gateway.get("/openapi.json", X_Forwarded_For=client, **headers)


def exhaust(gateway, client, n=40):
    """How many of n requests were let through."""
    return sum(ask(gateway, client)[0] == 200 for _ in range(n))


class Allowance:
    """What may be let through from now on, at most: the limit at once, and its share of the time since, however slow the machine is."""
    def __init__(self, limit):
        self.limit, self.began = limit, time.monotonic()

    def most(self, gateways=1):
        return self.limit * gateways + (time.monotonic() - self.began) * self.limit / 60 + 1


def refused_soon(gateway, request, limit=20):
    """A gateway knows nothing of a client until it asks; then Redis says what it owes. How soon is Redis' affair, but a gateway that knew
    of nothing but its own requests would refuse none of these: they are too few, a second apart."""
    asked = 0

    def refused():
        nonlocal asked
        asked += 1
        return request() == 429
    stack.wait_until("the other gateway to refuse", limit - 2, refused, every=1)
    assert asked < limit


def test_an_address_is_told_its_limit_and_stopped_at_it(pair):
    allowance = Allowance(20)
    status, _, headers = ask(pair[0], "192.0.2.1")
    assert status == 200
    assert headers["ratelimit-policy"] == '"address";q=20;w=60' and headers["ratelimit"] == '"address";r=19;t=3'
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"], headers["x-ratelimit-reset"]) == ("20", "19", "3")
    through = 1 + exhaust(pair[0], "192.0.2.1")
    assert 20 <= through <= allowance.most(), "20 at once, and one more every three seconds that this took"
    status, body, headers = ask(pair[0], "192.0.2.1")
    while status == 200:  # the machine is slow: another one was due
        status, body, headers = ask(pair[0], "192.0.2.1")
    assert (status, body["code"], body["title"]) == (429, "rate_limited", "Too Many Requests")
    assert headers["content-type"] == "application/problem+json" and 1 <= int(headers["retry-after"]) <= 3
    assert headers["x-ratelimit-remaining"] == "0" and re.fullmatch(r'"address";r=0;t=\d+', headers["ratelimit"])
    assert ask(pair[0], "192.0.2.2")[0] == 200, "others are not"


def test_a_limit_holds_over_all_gateways(pair):
    one, other = pair
    assert exhaust(one, "192.0.2.10", 30) >= 20
    refused_soon(other, lambda: ask(other, "192.0.2.10")[0])
    allowance = Allowance(20)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        through = sum(pool.map(lambda i: ask(pair[i % 2], "192.0.2.11")[0] == 200, range(120)))
    assert 20 <= through <= allowance.most(gateways=2), through


def test_who_is_not_a_trusted_proxy_is_not_believed(stores):
    gateway = stores.gateway({"gateway": {"limit_exempt": "", "address_limit": 5}})
    allowance = Allowance(5)
    assert 5 <= sum(ask(gateway, f"192.0.2.{i}")[0] == 200 for i in range(20, 60)) <= allowance.most()
    gateway.stop()


def test_an_IPv6_network_is_one_client(pair):
    allowance = Allowance(20)
    through = sum(ask(pair[0], f"2001:db8:0:1::{i:x}")[0] == 200 for i in range(1, 41))
    assert 20 <= through <= allowance.most()
    assert ask(pair[0], "2001:db8:0:2::1")[0] == 200


def test_what_costs_more_is_charged_more(pair):
    allowance = Allowance(20)
    remaining = [int(pair[0].get(path, X_Forwarded_For="192.0.2.50")[2]["x-ratelimit-remaining"])
                 for path in ("/v1/chains", "/v1/chains/dev/accounts/0x" + "12" * 20 + "/balances")]
    assert remaining[0] == 19 and 14 <= remaining[1] <= allowance.most() - 6


def test_each_part_of_a_batch_is_charged(pair):
    def batch(client, n):
        return stack.http_json(pair[0].api + "/v1/batch", "POST", {"paths": ["/v1/chains"] * n}, {"X-Forwarded-For": client}, 20)
    allowance = Allowance(20)
    assert batch("192.0.2.55", 10)[0] == 200
    assert int(ask(pair[0], "192.0.2.55")[2]["x-ratelimit-remaining"]) <= allowance.most() - 12
    answers = json.dumps(batch("192.0.2.56", 20)[1]) + json.dumps(batch("192.0.2.56", 20)[1])
    assert "rate_limited" in answers


def test_an_unknown_path_and_a_wrong_key_cost_too(pair):
    assert int(pair[0].get("/nothing", X_Forwarded_For="192.0.2.51")[2]["x-ratelimit-remaining"]) == 19
    allowance = Allowance(20)
    codes = [pair[0].operate("GET", "session", key=f"wrong-key-{i:016}", X_Forwarded_For="192.0.2.52")[0] for i in range(40)]
    assert codes[:20] == [401] * 20 and codes.count(401) <= allowance.most() and set(codes) == {401, 429}
    status, _, headers = pair[0].operate("GET", "session", X_Forwarded_For="192.0.2.52")
    assert status == 200 and headers["ratelimit-policy"] == '"key";q=40;w=60', "a right key has its own limit"


def test_a_key_is_stopped_wherever_it_is_used_from(pair):
    def use(gateway, i):
        return gateway.operate("GET", "session", key="viewer-key-0123456789", X_Forwarded_For=f"198.51.100.{i}")[0]
    allowance = Allowance(40)
    codes = [use(pair[0], i) for i in range(60)]
    assert codes[:40] == [200] * 40 and codes.count(200) <= allowance.most()
    refused_soon(pair[1], lambda: use(pair[1], 100), limit=30)


def test_a_handshake_costs_too(pair):
    def handshake():
        try:
            websocket.create_connection(pair[0].api.replace("http", "ws") + "/v1/ws", timeout=60, header={"X-Forwarded-For": "192.0.2.60"}).close()
            return 101
        except websocket.WebSocketBadStatusException as e:
            return e.status_code
    allowance = Allowance(20)
    codes = [handshake() for _ in range(40)]
    assert codes[:20] == [101] * 20 and codes.count(101) <= allowance.most() and set(codes) == {101, 429}


ACCOUNT = "0x" + "12" * 20
SNAPSHOT = {"topic": "accounts", "chain": "dev", "account": ACCOUNT, "from": {"snapshot": True}}


def stream(gateway, client, key=None):
    header = [f"X-Forwarded-For: {client}"] + ([f"Authorization: Bearer {key}"] if key else [])
    return gateway_client.Stream(gateway.api, seconds=120, header=header)


@pytest.mark.parametrize("client,key,limit", [("192.0.2.61", None, 20), ("192.0.2.62", stack.ADMIN_KEY, 40)])
def test_a_subscription_costs_what_one_by_plain_http_does(pair, client, key, limit):
    allowance = Allowance(limit)
    one = stream(pair[0], client, key)
    answers = []
    for _ in range(2 * limit):
        answers.append(one.ask("subscribe", {"topic": "blocks", "chain": "dev"}))
        if "result" in answers[-1]:
            one.ask("unsubscribe", {"subscription": answers[-1]["result"]["subscription"]})
    taken = sum("result" in a for a in answers)
    assert 1 <= taken <= allowance.most() - 1, "the handshake costs, too"
    assert {a["error"]["code"] for a in answers if "error" in a} == {"rate_limited"}
    assert one.ask("ping")["result"]["pong"], "it stays"
    one.close()


@pytest.mark.parametrize("client,method,params,code", [("192.0.2.63", "ping", None, None), ("192.0.2.64", "unsubscribe", {"subscription": "999"}, "subscription_unknown"),
                                                       ("192.0.2.65", "dance", None, "invalid_request")])
def test_a_message_costs_but_not_what_keeps_a_connection_alive_nor_what_ends_a_subscription(pair, client, method, params, code):
    allowance, began = Allowance(20), time.monotonic()
    one = stream(pair[0], client)
    held = one.subscribe(topic="blocks", chain="dev")["subscription"]
    answers = [one.ask(method, params) for _ in range(60)]
    taken = sum("result" in a or a["error"]["code"] == code for a in answers)
    free = time.monotonic() - began + 1 if method == "ping" else 0
    assert 1 <= taken <= allowance.most() - 2 + free, "the handshake and the subscription cost, too"
    assert {a["error"]["code"] for a in answers if "error" in a} - {code} == {"rate_limited"}
    assert one.ask("unsubscribe", {"subscription": held})["result"]["unsubscribed"], "it was paid for"
    stack.wait_until("a ping that costs nothing", 60, lambda: "result" in one.ask("ping"))
    one.close()


def replays(gateway):
    with urllib.request.urlopen(gateway.ops + "/metrics", timeout=5) as answer:
        return int(re.search(rb"^weir_gateway_replay_jobs_total (\d+)", answer.read(), re.M)[1])


def begin(client, number):
    """Asks for a subscription and does not wait for it."""
    client.ws.send(json.dumps({"id": number, "method": "subscribe", "params": SNAPSHOT}))


@pytest.fixture
def held_up(stores):
    """Balances that nobody can read until release()."""
    connection = psycopg2.connect(stores.postgres.url)
    connection.cursor().execute("lock table weir.balances in access exclusive mode")
    yield connection.rollback
    connection.close()


def test_a_subscription_that_was_given_up_counts_while_it_is_read_for_and_is_not_read_for_in_vain(stores, held_up):
    gateway = stores.gateway({"gateway": {"request_timeout": "5m"}, "postgres": {"statement_timeout": "5m"}})
    one, other, before = stream(gateway, "127.0.0.1"), stream(gateway, "127.0.0.1"), replays(gateway)
    for number in range(2): # one for each thread that reads: what waits behind them is not begun
        begin(other, number)
    stack.wait_until("both threads to wait for the ledger", 60, lambda: stores.sql("select count(*) from pg_locks where not granted") == [(2,)])
    for number in range(64):
        begin(one, number)
        assert one.ask("unsubscribe", {"subscription": str(number + 1)})["result"]["unsubscribed"]
    refused = one.ask("subscribe", SNAPSHOT)["error"]
    assert refused["code"] == "too_many_subscriptions" and "ended lately" in refused["message"]
    held_up()
    stack.wait_until("room for a subscription", 60, lambda: "result" in one.ask("subscribe", SNAPSHOT))
    assert replays(gateway) - before < 20, "what the other two and the last one need, and nothing of the 64"
    one.close()
    other.close()
    gateway.stop()


def test_as_many_as_may_be_wait_for_the_ledger(stores, held_up):
    gateway = stores.gateway({"gateway": {"request_timeout": "5m", "max_replays": 5}, "postgres": {"statement_timeout": "5m"}})
    one = stream(gateway, "127.0.0.1")
    for number in range(8):
        begin(one, number)
    refused = [one.receive() for _ in range(3)]
    assert {a["error"]["code"] for a in refused} == {"busy"} and {a["id"] for a in refused} == {5, 6, 7}
    for carrier in ("stream", "poll"):
        status, body, headers = gateway.get(f"/v1/{carrier}?chain=dev&topic=accounts&account={ACCOUNT}&snapshot=true")
        assert (status, body["code"]) == (503, "busy") and "retry-after" in headers
    held_up()
    answers = [m for m in (one.receive() for _ in range(10)) if "id" in m] # and a push for each
    assert {m["id"] for m in answers} == set(range(5)) and all("result" in m for m in answers)
    stack.wait_until("room for a subscription", 60, lambda: "result" in one.ask("subscribe", SNAPSHOT))
    one.close()
    gateway.stop()


def connect(gateway, client, key=None):
    """Two connections made one after the other may come to the hub by two threads, so in any order: who is to be later waits for a sign
    of life of the one before (lives(), ends())."""
    headers = {"X-Forwarded-For": client} | ({"Authorization": f"Bearer {key}"} if key else {})
    return websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, header=headers)


def ends(ws):
    """The code that the gateway closes it with. (It does not wait for the answer to that.)"""
    frame = ws.recv_frame()
    assert frame.opcode == websocket.ABNF.OPCODE_CLOSE
    return int.from_bytes(frame.data[:2], "big")


def lives(ws):
    try:
        ws.ping("x")
        return ws.recv_frame().opcode == websocket.ABNF.OPCODE_PONG
    except (OSError, websocket.WebSocketException):
        return False


def test_connections_of_a_client_are_limited(stores):
    limits = {"gateway": {"limit_exempt": "", "trusted_proxies": "127.0.0.0/8", "address_limit": 0, "key_limit": 0,
                          "connections_per_address": 3, "connections_per_key": 2}}
    gateway = stores.gateway(limits)
    def living(client, n, key=None):
        made = []
        for _ in range(n):
            made.append(connect(gateway, client, key))
            assert lives(made[-1])
        return made
    held = living("192.0.2.1", 3)
    assert ends(connect(gateway, "192.0.2.1")) == 1013, "one too many"
    assert lives(connect(gateway, "192.0.2.2")), "another address"
    by_key = living("192.0.2.10", 1, stack.ADMIN_KEY) + living("192.0.2.11", 1, stack.ADMIN_KEY)
    assert ends(connect(gateway, "192.0.2.12", stack.ADMIN_KEY)) == 1013, "a key counts wherever it is used"
    assert all(lives(ws) for ws in by_key)
    held.pop().close()
    stack.wait_until("the room of the one that went", 60, lambda: lives(connect(gateway, "192.0.2.1")))
    gateway.stop()


def held(gateway, source):
    """A connection from this address that was answered and stays open; None: it was closed instead."""
    host, port = gateway.api.split("//")[1].split(":")
    s = socket.create_connection((host, int(port)), timeout=60, source_address=(source, 0))
    try:
        s.sendall(b"GET /v1/none HTTP/1.1\r\nHost: a\r\n\r\n")
        if s.recv(65536).startswith(b"HTTP/1.1 404"):
            return s
    except ConnectionError:
        pass
    s.close()
    return None


def test_one_address_cannot_hold_every_connection(stores):
    gateway = stores.gateway({"gateway": {"limit_exempt": "127.0.0.5", "trusted_proxies": "127.0.0.4", "address_limit": 0, "http_per_address": 3}})
    mine = [held(gateway, "127.0.0.2") for _ in range(3)]
    assert all(mine) and held(gateway, "127.0.0.2") is None, "one too many"
    assert gateway.metric("weir_gateway_connections_refused_total") == 1
    assert held(gateway, "127.0.0.2") is None and gateway.metric("weir_gateway_connections_refused_total") == 2
    assert len(re.findall(r"connections_refused .*gateway.trusted_proxies.*peer=127.0.0.2 most=3 count=1", gateway.log.read_text())) == 1, "one line for many"
    others = [held(gateway, source) for source in ("127.0.0.3", *["127.0.0.4"] * 5, *["127.0.0.5"] * 5)]
    assert all(others), "another address, a proxy, one that no limit counts for"
    mine.pop().close()
    stack.wait_until("the room of the one that went", 60, lambda: mine.append(held(gateway, "127.0.0.2")) or mine[-1])
    mine[-1].close()
    sockets = []

    def upgraded():
        try:
            plain = socket.create_connection(("127.0.0.1", int(gateway.api.rsplit(":", 1)[1])), timeout=60, source_address=("127.0.0.2", 0))
            sockets.append(websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, socket=plain))
        except (OSError, websocket.WebSocketException):
            return False
        return len(sockets) == 5
    stack.wait_until("five WebSockets beside two plain connections: they are counted by themselves", 60, upgraded)
    for s in [*[m for m in mine if m], *others, *sockets]:
        s.close()
    gateway.stop()


def test_or_the_oldest_makes_room(stores):
    gateway = stores.gateway({"gateway": {"limit_exempt": "", "address_limit": 0, "connections_per_address": 2, "connections_oldest": True}})
    held = []
    for _ in range(5):
        held.append(connect(gateway, "192.0.2.1"))
        assert lives(held[-1])
    assert [ends(ws) for ws in held[:3]] == [1013] * 3 and lives(held[3]) and lives(held[4])
    gateway.stop()


def test_what_did_not_change_costs_nothing(pair):
    path = "/v1/chains/dev/blocks/0x" + "11" * 32
    _, _, headers = pair[0].get(path, X_Forwarded_For="192.0.2.70")
    for _ in range(60):
        status, _, again = pair[0].get(path, X_Forwarded_For="192.0.2.70", If_None_Match=headers["etag"])
        assert status == 304 and int(again["x-ratelimit-remaining"]) >= 19


def test_what_had_to_be_read_to_see_that_it_did_not_change_costs_what_it_costs(stores):
    """Else a client would have the ledger read as often as it likes, by a header."""
    gateway = stores.gateway({"gateway": {**LIMITED["gateway"], "recent_answers": 0}})
    for client, path, enough in (("192.0.2.71", "/v1/chains/dev/blocks/latest", 60), ("192.0.2.72", "/v1/chains/dev/statistics/history", 6)):
        statuses = [gateway.get(path, X_Forwarded_For=client, If_None_Match="*")[0] for _ in range(enough)]
        assert statuses[0] == 304 and 429 in statuses, (path, statuses)
    gateway.stop()


def test_loopback_is_not_limited_unless_asked_for(stores):
    gateway = stores.gateway({"gateway": {"address_limit": 1, "key_limit": 1}})
    for _ in range(10):
        status, _, headers = gateway.get()
        assert status == 200 and "ratelimit" not in headers and "x-ratelimit-limit" not in headers
        assert gateway.operate("GET", "session")[0] == 200
    gateway.stop()


def test_a_wrong_range_is_said_at_the_start(stores):
    with pytest.raises(RuntimeError, match=r'gateway.trusted_proxies: .*10.0.0.1/8.* is not an address or network'):
        stores.gateway({"gateway": {"trusted_proxies": "::1, 10.0.0.1/8"}})


def test_without_Redis_each_gateway_limits_by_itself(stores, pair):
    def shared(gateway):
        with urllib.request.urlopen(gateway.ops + "/metrics", timeout=5) as answer:
            return int(re.search(rb"^weir_gateway_limits_shared (\d)", answer.read(), re.M)[1])
    stores.redis.kill()
    try:
        for n, gateway in enumerate(pair):
            allowance = Allowance(20)
            assert 20 <= exhaust(gateway, f"192.0.2.{80 + n}", 40) <= allowance.most()
            stack.wait_until("the gateway to say so", 60, lambda g=gateway: shared(g) == 0)
    finally:
        stores.redis.start()
    for n, gateway in enumerate(pair):
        def again(g=gateway, n=n):
            ask(g, f"192.0.2.{90 + n}")
            return shared(g) == 1
        stack.wait_until("limits shared again", 60, again)
