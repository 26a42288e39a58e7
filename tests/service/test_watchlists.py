"""Watch-lists: made and changed at run time by who owns them, followed over every carrier, and at each place of the journal exactly what belonged to the list there."""
import contextlib
import itertools
import json
import pathlib
import re
import sys
import threading
import time
import urllib.request

import pytest
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Document, EventStream, Poll, Stream, query_of  # noqa: E402
from test_gateway import OPERATOR, own_world  # noqa: E402, F401

ALICE, BOB = "alice-key-0123456789", "bob-key-0123456789"
OWNERS = {"gateway": {"keys": [{"name": "local", "key": stack.ADMIN_KEY, "role": "admin"}, {"name": "hands", "key": OPERATOR, "role": "operator"},
                               {"name": "alice", "key": ALICE, "role": "viewer"}, {"name": "bob", "key": BOB, "role": "viewer"}]}}


class Lists:
    """One client's watch-lists; every answer is judged by the document."""

    def __init__(self, base, key=ALICE, document=None):
        self.base, self.key = base, key
        self.document = document or Document(stack.http_json(base + "/openapi.json")[1])

    def ask(self, method, path="", body=None, key=None, raw=None, type_="application/json", **more):
        headers = {"X-Api-Key": self.key if key is None else key, **more}
        if key == "":
            del headers["X-Api-Key"]
        if raw is None:
            status, answer, got = stack.http_json(self.base + "/v1/watchlists" + path, method, body, headers, 60)
        else:
            request = urllib.request.Request(self.base + "/v1/watchlists" + path, raw, {**headers, "Content-Type": type_}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    status, answer, got = reply.status, json.loads(reply.read()), dict(reply.headers)
            except urllib.error.HTTPError as error:
                status, answer, got = error.code, json.loads(error.read()), dict(error.headers)
        self.document.answer(method, "/v1/watchlists" + path, status, answer, got)
        return status, answer

    def make(self, name="a list"):
        status, answer = self.ask("POST", "", {"chain": "dev", "name": name})
        assert status == 201, answer
        return answer["id"]

    def add(self, watchlist, addresses, **more):
        status, answer = self.ask("POST", f"/{watchlist}/addresses", {"addresses": addresses, **more})
        assert status == 200, answer
        return answer

    def remove(self, watchlist, addresses):
        status, answer = self.ask("POST", f"/{watchlist}/addresses/remove", {"addresses": addresses})
        assert status == 200, answer
        return answer

    def addresses(self, watchlist, limit=1000):
        found, cursor = [], ""
        while True:
            status, page = self.ask("GET", f"/{watchlist}/addresses?limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
            assert status == 200, page
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found


def address(n):
    return f"0x{n:040x}"


# ---- what is kept ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("watchlists"))
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def gateway(stores):
    return stores.gateway(stack.merge(OWNERS, {"gateway": {"watchlists_per_owner": 5, "watchlist_addresses": 25000}}))


@pytest.fixture(autouse=True)
def empty(request):
    if "stores" in request.fixturenames:
        request.getfixturevalue("stores").sql("delete from weir_watch.addresses; delete from weir_watch.lists")


def test_lists_are_made_shown_changed_and_deleted(gateway):
    lists = Lists(gateway.api)
    first, second = lists.make("hot wallets"), lists.make()
    shown = lists.ask("GET", f"/{first}")[1]
    assert (shown["name"], shown["chain"], shown["owner"], shown["addresses"]) == ("hot wallets", "dev", "alice", 0)
    assert lists.add(first, [address(1), address(2), address(2), address(1).upper().replace("X", "x")]) == {"changed": 2, "unchanged": 2, "after_offset": "0"}
    assert lists.add(first, [address(2)]) == {"changed": 0, "unchanged": 1, "after_offset": None}
    assert lists.remove(first, [address(2), address(3)]) == {"changed": 1, "unchanged": 1, "after_offset": "0"}
    assert lists.add(first, [address(2)])["changed"] == 1, "what was removed may come again"
    assert lists.addresses(first, 1) == [address(1), address(2)]
    assert lists.ask("GET", f"/{first}")[1]["addresses"] == 2
    pages = [lists.ask("GET", "?limit=1")[1]]
    pages.append(lists.ask("GET", f"?limit=1&cursor={pages[0]['next_cursor']}")[1])
    assert [page["items"][0]["id"] for page in pages] == [first, second] and pages[1]["next_cursor"] is None
    assert lists.ask("POST", f"/{first}/rename", {"name": "Börse"}) == (200, {**lists.ask("GET", f"/{first}")[1], "name": "Börse"})
    assert lists.ask("GET", f"/{first}")[1]["name"] == "Börse" and lists.addresses(first) == [address(1), address(2)]
    for name, code in (("", "invalid_body"), ("x" * 101, "invalid_body"), ("a\nb", "invalid_name")):
        assert (answer := lists.ask("POST", f"/{first}/rename", {"name": name}))[0] == 400 and answer[1]["code"] == code
    assert lists.ask("POST", f"/{first}/delete")[1] == {"id": first, "deleted": True}
    assert lists.ask("GET", f"/{first}")[0] == lists.ask("POST", f"/{first}/delete")[0] == lists.ask("POST", f"/{first}/rename", {"name": "x"})[0] == 404
    assert [item["id"] for item in lists.ask("GET")[1]["items"]] == [second]


def test_lists_are_their_owners_and_the_operators(gateway):
    alice, bob, nobody = Lists(gateway.api), Lists(gateway.api, BOB), Lists(gateway.api, "")
    mine = alice.make()
    assert bob.ask("GET")[1]["items"] == []
    for method, path, body in (("GET", "", None), ("GET", "/addresses", None), ("POST", "/addresses", {"addresses": [address(1)]}),
                               ("POST", "/addresses/remove", {"addresses": [address(1)]}), ("POST", "/rename", {"name": "x"}), ("POST", "/delete", None)):
        status, problem = bob.ask(method, f"/{mine}{path}", body)
        assert (status, problem["code"]) == (404, "watchlist_unknown"), (method, path)
        assert nobody.ask(method, f"/{mine}{path}", body, key="")[0] == 401
    assert nobody.ask("GET", key="")[0] == nobody.ask("POST", "", {"chain": "dev", "name": "x"}, key="")[0] == 401
    status, page, _ = stack.http_json(gateway.admin + "/v1/watchlists", headers={"X-Api-Key": OPERATOR})
    assert status == 200 and [item["id"] for item in page["items"]] == [mine]
    assert stack.http_json(gateway.admin + "/v1/watchlists", headers={"X-Api-Key": BOB})[1]["items"] == [], "a viewer is no operator"
    key = gateway.operate("POST", "keys", {"name": "reader", "scopes": ["read"]})[1]
    stack.wait_until("the key is known", 60, lambda: gateway.get("/v1/chains", X_Api_Key=key["key"])[0] == 200)
    assert alice.ask("GET", key=key["key"])[0] == 403


def test_bodies_are_checked_whole_and_limits_hold(gateway):
    lists = Lists(gateway.api)
    mine = lists.make()
    for body, code in (({"addresses": []}, "invalid_body"), ({"addresses": [address(1), "0x12"]}, "invalid_address"), ({"addresses": "x"}, "invalid_body"),
                       ({}, "invalid_body"), ({"addresses": [address(1)], "more": 1}, "invalid_body"), ({"addresses": [address(n) for n in range(10001)]}, "invalid_body")):
        status, problem = lists.ask("POST", f"/{mine}/addresses", body)
        assert (status, problem["code"]) == (400, code), body
    assert lists.addresses(mine) == [], "all or none"
    text = "".join(f'"{address(n)}"\r\n\n' for n in range(10000)).encode()
    status, answer = lists.ask("POST", f"/{mine}/addresses", raw=text, type_="application/x-ndjson; charset=utf-8")
    assert (status, answer["changed"]) == (200, 10000)
    for wrong, words in ((b'"0x1\n', "line 1"), (b'{"a": 1}', "line 1"), (f'"{address(1)}"\n\n7'.encode(), "line 2"), (text + b'"x"', "10000 lines"), (b"\n", "empty")):
        status, problem = lists.ask("POST", f"/{mine}/addresses", raw=wrong, type_="application/x-ndjson")
        assert status == 400 and words in problem["detail"], problem
    assert lists.ask("POST", f"/{mine}/addresses", raw=b"x", type_="text/plain")[0] == 415
    assert lists.ask("POST", "", raw=b'"x"', type_="application/x-ndjson")[0] == 415, "lines are for addresses"
    lists.add(mine, [address(n) for n in range(10000, 20000)])
    status, problem = lists.ask("POST", f"/{mine}/addresses", {"addresses": [address(n) for n in range(19999, 26000)]})
    assert (status, problem["code"]) == (409, "watchlist_full")
    assert lists.ask("GET", f"/{mine}")[1]["addresses"] == len(lists.addresses(mine)) == 20000
    for n in range(4):
        lists.make(f"list {n}")
    status, problem = lists.ask("POST", "", {"chain": "dev", "name": "x"})
    assert (status, problem["code"]) == (409, "too_many_watchlists")
    assert lists.ask("POST", "", {"chain": "none", "name": "x"})[0] == 404
    assert lists.ask("POST", "", {"chain": "dev", "name": "a\tb"})[0] == 400
    assert lists.ask("GET", "/1x")[0] == lists.ask("GET", "/" + "9" * 19)[0] == 404


def test_a_login_that_may_not_keep_lists_says_so_and_serves_the_rest(stores):
    stores.sql("create role plain login; grant weir_reader to plain")
    url = stores.postgres.url
    plain = re.sub(r"user=\S+", "user=plain", url) if "user=" in url else url + " user=plain"
    gateway = stores.gateway(stack.merge(OWNERS, {"postgres": {"url": plain}}))
    status, problem = Lists(gateway.api).ask("GET")
    assert (status, problem["code"]) == (503, "watchlists_unavailable") and "weir_identity" in problem["detail"]
    assert gateway.get("/v1/chains/dev")[0] == 200
    gateway.stop()


# ---- what is followed --------------------------------------------------------------------------------------------------------------------------


class KeyedStream(Stream):
    def __init__(self, base, key=ALICE, document=None):
        self.ws = websocket.create_connection(base.replace("http", "ws") + "/v1/ws", timeout=60, header=[f"X-Api-Key: {key}"])
        self.document, self.pushes, self.number = document, [], 0


class KeyedEvents(EventStream):
    def ask(self, target, headers=()):
        return super().ask(target, [f"X-Api-Key: {ALICE}", *headers])


class KeyedPoll(Poll):
    def ask(self, wait, limit=47):
        params = dict(self.params, **({"from": {"offset": self.offset}} if self.offset else {}))
        status, answer, _ = stack.http_json(f"{self.base}/v1/poll?{query_of(**params)}&wait={wait}&limit={limit}", headers={"X-Api-Key": ALICE}, timeout=60)
        assert status == 200, (status, answer)
        self.document.named(answer, "PollAnswer")
        self.offset = answer["offset"]
        return answer["items"]


def sequence_of(offset):
    return int(re.match(r"\d+", offset)[0])


def flat(pushes):
    """(sequence, what, id) of each thing that pushes give or take back."""
    found = []
    for offset, event in pushes:
        if event["type"] == "retracted":
            found += [(sequence_of(offset), "retracted", id) for id in event["ids"]]
        else:
            assert event["type"] == "entry", event
            found.append((sequence_of(offset), event["account"], event["id"]))
    return found


class Membership:
    """The oracle: what belonged to the list for which event, from the answers of REST alone."""

    def __init__(self):
        self.spans, self.lock = {}, threading.Lock()

    def added(self, address, answer, always=False):
        self.spans.setdefault(address, []).append([-1 if always else int(answer["after_offset"]), None])

    def removed(self, address, answer):
        self.spans[address][-1][1] = int(answer["after_offset"])

    def had(self, address, sequence):
        return any(a < sequence and (b is None or sequence <= b) for a, b in self.spans.get(address, []))

    def of(self, everything, after):
        """What a subscription that began behind `after` is given, of all that topic entries gives."""
        held, expected = set(), []
        for sequence, what, id in everything:
            if sequence <= after:
                continue
            if what == "retracted" and id in held:
                held.discard(id)
                expected.append((sequence, what, id))
            elif what != "retracted" and self.had(what, sequence):
                held.add(id)
                expected.append((sequence, what, id))
        return expected


def read_along(client, pushes):
    """Takes what is there: who reads nothing for a minute looks dead."""
    with contextlib.suppress(websocket.WebSocketTimeoutException):
        while True:
            push = client.push(0.01)
            pushes.append((push["offset"], push["event"]))


def read_all(client, expected, pushes=None, seconds=180):
    """All of it, in order, and nothing more; after what it was given already."""
    pushes, deadline, quiet = pushes or [], time.monotonic() + seconds, 0
    while (len(flat(pushes)) < len(expected) and time.monotonic() < deadline) or quiet < 1:
        try:
            push = client.push(1)
            pushes.append((push["offset"], push["event"]))
            quiet = 0
        except websocket.WebSocketTimeoutException:
            quiet += 1
    got = flat(pushes)
    assert (sorted(set(got) - set(expected))[:3], sorted(set(expected) - set(got))[:3], len(got)) == ([], [], len(expected))
    assert got == expected
    return pushes


def everything(base, complete, document=None, key=ALICE, **subscription):
    """All pushes until complete(pushes) and a silence."""
    client = KeyedStream(base, key, document)
    client.subscribe(chain="dev", **subscription)
    pushes, deadline = [], time.monotonic() + 120
    while True:
        try:
            push = client.push(2)
            pushes.append((push["offset"], push["event"]))
        except websocket.WebSocketTimeoutException:
            if complete(pushes) or time.monotonic() > deadline:
                client.close()
                return pushes


def standing(pushes):
    """Ids that were given and not taken back."""
    held = set()
    for _, what, id in flat(pushes):
        (held.discard if what == "retracted" else held.add)(id)
    return held


def test_at_each_place_of_the_journal_a_list_is_what_it_was_there(own_world):
    """While blocks come and are taken back, addresses are added and removed by two gateways. Clients at the live end of three gateways (one without
    memory for lists), and replays, are given the entries of what belonged to the list at that very event, and their retractions."""
    world = own_world(OWNERS)
    world.workload("--seed", "7", "--blocks", "6", "--reorgs", "0", "--pace-ms", "20")
    bases = [world.suite.api, world.second_gateway(), world.second_gateway({"WEIR_GATEWAY_WATCHLIST_MEMORY": "0"})]
    document = world.api().document
    lists, oracle = Lists(bases[0], document=document), Membership()
    accounts = [row[0] for row in world.sql("select '0x' || encode(a.address, 'hex') from weir.accounts a join weir.entries e on e.account = a.id "
                                            "group by a.id, a.address order by count(*) desc, a.id limit 12")]
    mine = lists.make()
    answer = lists.add(mine, accounts[:3] + [address(10**40 + n) for n in range(500)])
    for account in accounts[:3]:
        oracle.added(account, answer)
    clients = [KeyedStream(bases[0]), KeyedEvents(bases[1]), KeyedPoll(bases[2], document)]
    patient = [{"laggard": "resume"}, {"laggard": "resume"}, {}] # they are read between other things
    begun = [sequence_of(client.subscribe(topic="watchlist", chain="dev", watchlist=mine, **more)["offset"]) for client, more in zip(clients, patient)]
    busy = world.workload("--seed", "34", "--blocks", "18", "--reorgs", "2", "--pace-ms", "60", wait=False)
    early = [[] for _ in clients]
    turns, seen = itertools.cycle([Lists(base, document=document) for base in bases[:2]]), None
    pending, members = accounts[3:], accounts[:3]
    while busy.child.poll() is None:
        for client, pushes in zip(clients[:2], early):
            read_along(client, pushes)
        head = world.suite.chain("dev")["watermark"]["hash"]
        if head == seen:
            time.sleep(0.02)
            continue
        seen = head
        if pending and len(members) < 5:
            account = pending.pop(0)
            members.append(account)
            oracle.added(account, next(turns).add(mine, [account]))
        else:
            account = members.pop(0)
            pending.append(account)
            oracle.removed(account, next(turns).remove(mine, [account]))
    assert busy.child.wait() == 0, busy.tail()
    world.settle()
    ledger = set(world.ledger_ids(world.api()))
    entries = flat(everything(bases[0], lambda pushes: standing(pushes) == ledger, topic="entries", **{"from": {"offset": "0"}}))
    assert any(what == "retracted" for _, what, _ in oracle.of(entries, min(begun))) and any(len(spans) > 1 or spans[0][1] for spans in oracle.spans.values())
    for client, after, pushes in zip(clients, begun, early, strict=True):
        read_all(client, oracle.of(entries, after), pushes)
        client.close()
    client = KeyedStream(bases[1], document=document)
    client.subscribe(topic="watchlist", chain="dev", watchlist=mine, **{"from": {"offset": "0"}})
    got = read_all(client, oracle.of(entries, 0))
    client.close()
    middle = len(got) // 2 # one push's offset goes on anywhere
    assert everything(bases[0], lambda pushes: len(pushes) >= len(got) - middle - 1, topic="watchlist", watchlist=mine,
                      **{"from": {"offset": got[middle][0]}}) == got[middle + 1:]
    # Always: as if it had belonged to the list from the begin.
    other = lists.make()
    assert lists.add(other, accounts[:2], always=True)["after_offset"] == "0"
    theirs = {id for _, what, id in entries if what in accounts[:2]}
    pushes = flat(everything(bases[0], lambda pushes: theirs <= {id for _, _, id in flat(pushes)}, topic="watchlist", watchlist=other, **{"from": {"offset": "0"}}))
    for account in accounts[:2]:
        assert [x for x in pushes if x[1] == account] == [x for x in entries if x[1] == account]


def test_a_list_that_is_not_yours_or_goes_away(own_world):
    world = own_world(OWNERS)
    lists, document = Lists(world.suite.api), world.api().document
    mine = lists.make()
    bob = KeyedStream(world.suite.api, BOB, document)
    for params, code in (({"watchlist": mine}, "watchlist_unknown"), ({"watchlist": "999"}, "watchlist_unknown"), ({}, "invalid_request"), ({"watchlist": "x"}, "invalid_request"),
                         ({"watchlist": mine, "account": address(1)}, "invalid_request"), ({"watchlist": mine, "from": {"snapshot": True}}, "invalid_request")):
        assert bob.ask("subscribe", {"topic": "watchlist", "chain": "dev", **params})["error"]["code"] == code, params
    assert bob.ask("subscribe", {"topic": "entries", "chain": "dev", "watchlist": mine})["error"]["code"] == "invalid_request"
    bob.close()
    assert Stream(world.suite.api).ask("subscribe", {"topic": "watchlist", "chain": "dev", "watchlist": mine})["error"]["code"] == "watchlist_unknown"
    assert "404 Not Found" in EventStream(world.suite.api).ask(f"/v1/stream?topic=watchlist&chain=dev&watchlist={mine}")
    alice, events = KeyedStream(world.suite.api, document=document), KeyedEvents(world.suite.api)
    alice.subscribe(topic="watchlist", chain="dev", watchlist=mine)
    alice.subscribe(topic="blocks", chain="dev")
    events.subscribe(topic="watchlist", chain="dev", watchlist=mine)
    api = world.api()
    subscriptions = [s for c in api.operate("GET", "/admin/v1/connections")[1]["items"] for s in c["subscriptions"]]
    assert [s["watchlist"] for s in subscriptions].count(mine) == 2
    lists.ask("POST", f"/{mine}/delete")
    assert alice.push(30)["event"]["type"] == "ended"
    assert events.push(30)["event"]["type"] == "ended"
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        events.push(30)
    world.node.call("anvil_mine", "0x1")
    while alice.push(60)["event"]["type"] != "block": # the connection goes on
        pass
    stack.wait_until("nothing is followed", 60, lambda: world.suite.metric("gateway", "weir_gateway_watchlists_followed") == 0)
