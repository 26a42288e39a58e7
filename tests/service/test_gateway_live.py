"""The live end by plain HTTP: event streams and long polls give what the WebSocket gives, at the same offsets, and hold nothing that others need."""
import json
import pathlib
import signal
import socket
import sys
import threading
import time

import pytest
import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import ASYNC, Balances, Books, Deflated, EventStream, Packed, Poll, Stream, raw  # noqa: E402
from test_gateway import C, World, own_world  # noqa: E402, F401

ACCOUNT = "0x" + "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("live"))
    try:
        world.workload("--seed", "41", "--blocks", "18", "--reorgs", "2", "--pace-ms", "20")
        yield world
    finally:
        statuses = world.stop()
    assert statuses["gateway"] == 0


def everything(carrier, base, document=None, count=None, complete=None, **subscription):
    """All pushes of history (until complete(pushes) and a silence), or the first so many, without what tells one connection from another."""
    client = carrier(base, document)
    client.subscribe(**subscription)
    pushes = []
    deadline = time.monotonic() + 120
    while count is None or len(pushes) < count:
        try:
            push = client.push(2.0)
            pushes.append((push["offset"], push["event"]))
        except websocket.WebSocketTimeoutException:
            if count is None and (complete is None or complete(pushes)):
                break
            assert time.monotonic() < deadline, f"{len(pushes)} of {count}"
    client.close()
    return pushes


@pytest.mark.parametrize("subscription", [{"topic": "blocks"}, {"topic": "entries"}, {"topic": "entries", "account": ACCOUNT, "asset": "native"},
                                          {"topic": "accounts", "account": ACCOUNT}, {"topic": "chain_status"}], ids=lambda s: "-".join(s.values())[:20])
def test_all_carriers_give_the_same_pushes_at_the_same_offsets(world, subscription):
    document = world.api().document
    pushes = everything(Stream, world.suite.api, document, chain="dev", **subscription, **{"from": {"height": 0}})
    middle = len(pushes) // 2
    assert middle > 5
    for carrier in (EventStream, Poll):
        assert everything(carrier, world.suite.api, document, len(pushes), chain="dev", **subscription, **{"from": {"height": 0}}) == pushes
        # One carrier's offset is another's.
        assert everything(carrier, world.suite.api, document, len(pushes) - middle - 1, chain="dev", **subscription,
                          **{"from": {"offset": pushes[middle][0]}}) == pushes[middle + 1:]


def test_what_cannot_be_followed_is_a_problem_with_its_name(world):
    api = world.api()
    for path, status, code in [
            ("topic=blocks", 400, "invalid_parameter"), ("chain=dev", 400, "invalid_parameter"), ("chain=dev&topic=x", 400, "invalid_parameter"),
            ("chain=none&topic=blocks", 404, "chain_unknown"), ("chain=dev&topic=accounts", 400, "invalid_parameter"),
            ("chain=dev&topic=blocks&account=0x00", 400, "invalid_parameter"), ("chain=dev&topic=entries&account=0x00", 400, "invalid_request"),
            ("chain=dev&topic=entries&kind=gold", 400, "invalid_kind"), ("chain=dev&topic=entries&kind=unknown", 400, "invalid_kind"),
            ("chain=dev&topic=blocks&kind=fee", 400, "invalid_parameter"), (f"chain=dev&topic=accounts&account={ACCOUNT}&kind=fee", 400, "invalid_parameter"),
            ("chain=dev&topic=blocks&offset=x", 400, "invalid_parameter"), ("chain=dev&topic=blocks&offset=99999999999", 410, "offset_unknown"),
            ("chain=dev&topic=blocks&height=-1", 400, "invalid_parameter"), ("chain=dev&topic=blocks&page=1", 400, "invalid_parameter")]:
        for endpoint in ("stream", "poll"):
            api.problem(f"/v1/{endpoint}?{path}", status, code)
    assert "nothing on the bus" in api.problem("/v1/poll?chain=dev&topic=consensus", 400, "invalid_parameter")[0]["detail"]
    for endpoint in ("stream", "poll"):
        assert "gateway.admin_listen" in api.problem(f"/v1/{endpoint}?chain=dev&topic=dead_letters", 403, "forbidden")[0]["detail"]
    api.problem("/v1/poll?chain=dev&topic=blocks&wait=61", 400, "invalid_parameter")
    assert "400 Bad Request" in EventStream(world.suite.api).ask("/v1/stream?chain=dev&topic=blocks", ["Last-Event-ID: 1;2"])
    for endpoint in ("stream", "poll"):
        head = f"HEAD /v1/{endpoint}?chain=dev&topic=blocks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        codes, text = raw(world.suite.api, head.encode())
        assert codes == [200] and text.endswith("\r\n\r\n")


def flat(pushes):
    """What was given and taken back, in order, whatever pushes carried it."""
    return [(event["type"], id) for _, event in pushes if event["type"] in ("entry", "retracted") for id in (event["ids"] if event["type"] == "retracted" else [event["id"]])]


def standing(changes):
    held = set()
    for what, id in changes:
        (held.add if what == "entry" else held.discard)(id)
    return held


def test_a_kind_narrows_entries_live_on_resume_and_in_lists(own_world):
    """Through reorgs: of all that a subscription without a kind is given and told back, those entries and no others, live and read again on another gateway."""
    world = own_world()
    world.workload("--seed", "40", "--blocks", "3", "--reorgs", "0")
    other, key = world.second_gateway(), {"X-Api-Key": stack.ADMIN_KEY}
    document = world.api().document

    def lists(path, body):
        status, answer, _ = stack.http_json(world.suite.api + "/v1/watchlists" + path, "POST", body, key)
        assert status in (200, 201), answer
        return answer

    def open_(base, document=None):
        return Stream(base, document, header=[f"{name}: {value}" for name, value in key.items()])

    mine = lists("", {"chain": "dev", "name": "kinds"})["id"]
    lists(f"/{mine}/addresses", {"addresses": [ACCOUNT], "always": True})
    narrow = [{"topic": "entries", "kind": "token_transfer"}, {"topic": "entries", "kind": "fee", "account": ACCOUNT},
              {"topic": "entries", "kind": "transfer", "asset": "native"}, {"topic": "watchlist", "watchlist": mine, "kind": "fee"}]
    clients = [open_(world.suite.api, document) for _ in range(1 + len(narrow))]
    for client, subscription in zip(clients, [{"topic": "entries"}, *narrow], strict=True):
        client.subscribe(chain="dev", **subscription, **{"from": {"height": 0}})
    shown = [s for c in world.api().operate("GET", "/admin/v1/connections")[1]["items"] for s in c["subscriptions"]]
    assert sorted(s["kind"] or "" for s in shown) == sorted(["", *(s["kind"] for s in narrow)])
    refused = clients[0].ask("subscribe", {"topic": "entries", "chain": "dev", "kind": "gold"})
    assert refused["error"]["code"] == "invalid_kind", refused

    got, over = [[] for _ in clients], threading.Event()
    readers = [threading.Thread(target=read_until, args=(client, lambda push, of=of: of.append((push["offset"], push["event"])), over.is_set)) for client, of in zip(clients, got, strict=True)]
    for reader in readers:
        reader.start()
    world.workload("--seed", "41", "--blocks", "18", "--reorgs", "2", "--pace-ms", "40")
    ids = set(world.ledger_ids(world.api()))
    stack.wait_until("all that the ledger holds", 60, lambda: standing(flat(got[0])) == ids)
    whole = flat(got[0])
    entries = {event["id"]: event for _, event in got[0] if event["type"] == "entry"}
    wanted = [[(what, id) for what, id in whole if entries[id]["kind"] == s["kind"] and s.get("asset") in (None, entries[id]["asset"])
               and (entries[id]["account"] == ACCOUNT or not {"account", "watchlist"} & s.keys())] for s in narrow]
    assert all({what for what, _ in some} == {"entry", "retracted"} and len(some) < len(whole) for some in wanted)
    stack.wait_until("as much of each", 60, lambda: all(len(flat(live)) >= len(some) for live, some in zip(got[1:], wanted, strict=True)))
    over.set()
    for reader in readers:
        reader.join()
    for subscription, live, some in zip(narrow, got[1:], wanted, strict=True):
        assert flat(live) == some, subscription
        middle = len(live) // 2
        for begin, rest in (({"height": 0}, live), ({"offset": live[middle][0]}, live[middle + 1:])):
            assert everything(open_, other, document, len(rest), chain="dev", **subscription, **{"from": begin}) == rest, (subscription, begin)
    for carrier in (EventStream, Poll):
        assert everything(carrier, other, document, len(got[2]), chain="dev", **narrow[1], **{"from": {"height": 0}}) == got[2]
    for client in clients:
        client.close()


def test_a_poll_waits_for_an_event_and_the_connection_goes_on(world):
    world.settle()
    host, port = world.suite.api.split("//")[1].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as s:
        def ask(query):
            s.sendall(f"GET /v1/poll?chain=dev&topic=blocks&{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

        def answer():
            data = b""
            while b"\r\n\r\n" not in data:
                data += s.recv(65536)
            head, body = data.split(b"\r\n\r\n", 1)
            size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            while len(body) < size:
                body += s.recv(65536)
            assert head.startswith(b"HTTP/1.1 200 ")
            return json.loads(body)

        ask("wait=0")
        nothing = answer()
        assert nothing["items"] == []
        ask(f"wait=1&offset={nothing['offset']}")
        assert answer()["items"] == []
        ask(f"wait=60&offset={nothing['offset']}")
        world.node.call("anvil_mine", "0x1")
        items = answer()["items"]
        assert items and items[0]["event"]["type"] in ("block", "finality")
        s.sendall(f"GET {C} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert s.recv(20).startswith(b"HTTP/1.1 200 ")


def test_many_that_wait_hold_up_nobody(world):
    """Far more streams and polls than the gateway has threads; REST is answered, and all of them hear of the next block."""
    world.settle()
    streams = [EventStream(world.suite.api) for _ in range(60)]
    offsets = [s.subscribe(topic="blocks", chain="dev")["offset"] for s in streams]
    polls = [EventStream(world.suite.api) for _ in range(60)]
    for poll in polls:
        poll.socket = socket.create_connection((poll.address[0], int(poll.address[1])), timeout=60)
        poll.socket.sendall(f"GET /v1/poll?chain=dev&topic=blocks&wait=60&offset={offsets[-1]} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    api = world.api()
    stack.wait_until("all of them there", 60, lambda: api.operate("GET", "/admin/v1/connections?limit=1000")[1]["connections"] >= 120)
    items = api.operate("GET", "/admin/v1/connections?limit=1000")[1]["items"]
    assert [i["carrier"] for i in items].count("stream") == [i["carrier"] for i in items].count("poll") == 60
    for _ in range(20):
        assert api.ok(C)["name"] == "dev"
    world.node.call("anvil_mine", "0x1")
    for stream in streams:
        while stream.push(30)["event"]["type"] != "block":
            pass
    for poll in polls:
        assert poll.part(b"\r\n\r\n", 30).startswith(b"HTTP/1.1 200")
    for client in (*streams, *polls):
        client.close()
    stack.wait_until("all of them gone", 60, lambda: api.operate("GET", "/admin/v1/connections")[1]["connections"] == 0)
    assert api.ok(C)["name"] == "dev"


def test_clients_of_every_carrier_hold_exactly_the_ledger_through_reorgs(own_world):
    world = own_world()
    bases = [world.suite.api, world.second_gateway()]
    busy = world.workload("--seed", "33", "--blocks", "24", "--reorgs", "4", "--pace-ms", "90", wait=False)
    clients = [Books(bases, 1, None, odds=0.02, carrier=EventStream, topic="entries", chain="dev", **{"from": {"height": 0}}),
               Books(bases, 2, None, odds=0.02, carrier=Poll, topic="entries", chain="dev", **{"from": {"height": 0}}),
               Books(bases, 3, None, odds=0.1, carrier=EventStream, topic="blocks", chain="dev", **{"from": {"height": 0}}),
               Books(bases, 4, None, odds=0.1, carrier=Poll, topic="blocks", chain="dev", **{"from": {"height": 0}})]
    wanted, failed = {}, [] # what each is to hold, once the chain has ended

    def over(books):
        return books in wanted and set(books.held) == wanted[books] and books.reconnects > 2

    def run(books):
        try:
            books.follow(over)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(books,)) for books in clients]
    for thread in threads:
        thread.start()
    assert busy.child.wait(240) == 0, busy.tail()
    world.settle()
    api = world.api()
    entries, blocks = world.ledger_ids(api), {b["id"] for b in api.items(f"{C}/blocks", 1000)}
    wanted.update(zip(clients, (set(entries), set(entries), blocks, blocks)))
    for thread in threads:
        thread.join(300)
    if failed:
        raise failed[0]
    assert [set(c.held) for c in clients] == [set(entries), set(entries), blocks, blocks]
    assert all(c.retractions > 0 and c.reconnects > 2 for c in clients)


def test_a_stream_that_is_not_read_is_ended_and_its_last_id_goes_on(own_world):
    world = own_world({"gateway": {"websocket_queue": "64KiB"}})
    stream = EventStream(world.suite.api, seconds=90, window=4096)
    stream.subscribe(topic="entries", chain="dev")
    world.workload("--seed", "10", "--blocks", "20", "--reorgs", "0")
    stack.wait_until("the slow client dropped", 150, lambda: world.suite.metric("gateway", "weir_gateway_websocket_closed_total", reason="slow") == 1)
    held = []
    with pytest.raises(websocket.WebSocketConnectionClosedException, match=r"too slow|ended"):
        while True:
            held.append(stream.push(90)["event"]["id"])
    ledger = {k for k, e in world.ledger_ids(world.api()).items() if e["height"] > 0 or e["kind"] == "opening"}
    rest = [e["id"] for _, e in everything(EventStream, world.suite.api, complete=lambda pushes: ledger <= {*held, *(e["id"] for _, e in pushes)}, topic="entries",
                                           chain="dev", **{"from": {"offset": stream.last_id}})]
    assert held and rest and len(set(held + rest)) == len(held) + len(rest) and ledger <= {*held, *rest}


def test_on_sigterm_polls_are_answered_and_streams_told_when_to_come_back(own_world):
    world = own_world()
    stream = EventStream(world.suite.api)
    stream.subscribe(topic="entries", chain="dev")
    answers = [] # nothing moves on this chain
    waiting = threading.Thread(target=lambda: answers.append(stack.http_json(f"{world.suite.api}/v1/poll?topic=entries&chain=dev&wait=60", timeout=90)))
    waiting.start()
    stack.wait_until("the poll waits", 60, lambda: world.api().operate("GET", "/admin/v1/connections")[1]["connections"] == 2)
    gateway = world.suite.processes["gateway"]
    gateway.send(signal.SIGTERM)
    while True:
        fields = dict(line.split(": ", 1) for line in stream.part(b"\n\n", 60).decode().split("\n"))
        if fields.get("event") == "close":
            break
    assert json.loads(fields["data"])["code"] == 1001 and 2000 <= int(fields["retry"]) <= 7000
    waiting.join(60)
    assert answers[0][0] == 200 and answers[0][1]["items"] == [] and answers[0][1]["offset"]
    assert gateway.wait(60) == 0


def test_a_quiet_stream_says_how_far_it_is(own_world):
    world = own_world()
    stream = EventStream(world.suite.api)
    first = stream.subscribe(topic="entries", chain="dev", account="0x" + "12" * 20)["offset"]
    world.workload("--seed", "9", "--blocks", "3", "--reorgs", "0")
    deadline = time.monotonic() + 60
    while not stream.heartbeats or stream.heartbeats[-1]["offset"] == first:
        assert time.monotonic() < deadline
        try:
            assert not stream.push(2.0)
        except websocket.WebSocketTimeoutException:
            pass
    assert int(stream.heartbeats[-1]["offset"].split("-")[0]) > int(first.split("-")[0])


# ---- beginning with a snapshot, and being too slow -------------------------------------------------------------------------------------------


def rest_of(client, take, silence=2.0):
    """Reads until nothing comes any more."""
    try:
        while True:
            take(client.push(silence))
    except websocket.WebSocketTimeoutException:
        pass


def read_until(client, take, done, seconds=120):
    """Reads until nothing comes and done(): silence alone would not tell a client that has all from a server that is busy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            take(client.push(1.0))
        except websocket.WebSocketTimeoutException:
            if done():
                return


def balances_of(api, account):
    return {row["asset"]: row["amount"] for row in api.ok(f"{C}/accounts/{account}/balances")["items"] if not row["non_conserving"]}


def test_snapshots_go_over_into_events_without_a_seam(own_world):
    """Subscribed at random moments of a busy chain with reorgs, on every carrier: the balances are the ledger's in the end."""
    world = own_world()
    world.workload("--seed", "50", "--blocks", "8", "--reorgs", "0")
    busy = world.workload("--seed", "51", "--blocks", "30", "--reorgs", "6", "--pace-ms", "120", wait=False)
    document, clients = world.api().document, []
    while busy.child.poll() is None or len(clients) < 5:
        carrier = (Stream, EventStream, Poll)[len(clients) % 3]
        client = carrier(world.suite.api, document)
        client.subscribe(topic="accounts", chain="dev", account=ACCOUNT, **{"from": {"snapshot": True if carrier is Stream else "true"}})
        clients.append((client, Balances()))
        time.sleep(0.8)
        for client, balances in clients:  # who reads nothing for a minute looks dead
            if not isinstance(client, Poll):
                rest_of(client, lambda push, balances=balances: balances.take(push["event"]), 0.01)
    assert busy.child.wait(60) == 0, busy.tail()
    world.settle()
    now = balances_of(world.api(), ACCOUNT)
    kinds = set()
    for client, balances in clients:
        def take(push, balances=balances):
            balances.take(push["event"])
        read_until(client, take, lambda balances=balances: all(balances.amounts.get(asset) == now[asset] for asset in now))
        assert balances.kinds[0] == "snapshot" and balances.kinds.count("snapshot") == 1
        assert {asset: balances.amounts.get(asset) for asset in now} == now
        kinds |= set(balances.kinds)
        client.close()
    assert len(clients) > 4 and kinds == {"snapshot", "account", "retracted"}


def test_snapshots_of_a_chain_and_promotions_among_entries(world):
    world.settle()
    api = world.api()
    stream = Stream(world.suite.api, api.document)
    assert "error" in stream.ask("subscribe", {"topic": "entries", "chain": "dev", "from": {"snapshot": True}})
    assert "error" in stream.ask("subscribe", {"topic": "entries", "chain": "dev", "laggard": "conflate"})
    assert "error" in stream.ask("subscribe", {"topic": "entries", "chain": "dev", "laggard": "x"})
    assert "error" in stream.ask("subscribe", {"topic": "blocks", "chain": "dev", "finality": True})
    assert "error" in stream.ask("subscribe", {"topic": "blocks", "chain": "dev", "from": {"snapshot": True, "height": 1}})
    chain = world.suite.chain("dev")
    for topic in ("blocks", "chain_status"):
        stream.subscribe(topic=topic, chain="dev", **{"from": {"snapshot": True}})
        event = stream.push()["event"]
        assert (event["type"], event["watermark"]["hash"]) == ("snapshot", chain["watermark"]["hash"])
    stream.close()
    for account in ({}, {"account": ACCOUNT}):
        stream = Stream(world.suite.api, api.document)
        offset = stream.subscribe(topic="entries", chain="dev", finality=True, **account)["offset"]
        world.node.call("anvil_mine", hex(3))
        live = stream.push(60)
        assert live["event"]["type"] == "finality"
        again = Stream(world.suite.api, api.document)
        again.subscribe(topic="entries", chain="dev", finality=True, **account, **{"from": {"offset": offset}})
        assert again.push(60) == live
        again.close()
        stream.close()


def test_laggards_are_held_back_passed_over_or_conflated_as_they_asked(own_world):
    world = own_world({"gateway": {"websocket_queue": "128KiB"}})
    world.workload("--seed", "9", "--blocks", "3", "--reorgs", "0")
    document = world.api().document
    held, dropping = Stream(world.suite.api, document, 60, 4096), Stream(world.suite.api, document, 60, 4096)
    subs = {held.subscribe(topic="entries", chain="dev", laggard="resume")["subscription"]: "entries",
            held.subscribe(topic="blocks", chain="dev", laggard="conflate")["subscription"]: "blocks",
            held.subscribe(topic="chain_status", chain="dev", laggard="conflate")["subscription"]: "chain_status",
            held.subscribe(topic="accounts", chain="dev", account=ACCOUNT, laggard="conflate", **{"from": {"snapshot": True}})["subscription"]: "accounts"}
    dropping.subscribe(topic="entries", chain="dev", laggard="drop")
    top = world.suite.chain("dev")["watermark"]["height"]
    busy = world.workload("--seed", "10", "--blocks", "60", "--reorgs", "0", wait=False)
    for policy in ("conflate", "drop"):
        stack.wait_until(f"a laggard that asked for {policy}", 60, lambda p=policy: (world.suite.metric("gateway", "weir_gateway_laggards_total", policy=p) or 0) > 0)
    api = world.api()
    states = {s["state"] for c in api.operate("GET", "/admin/v1/connections")[1]["items"] for s in c["subscriptions"]}
    assert "lagging" in states
    given, balances, dropped, settled = {name: [] for name in subs.values()}, Balances(), [], threading.Event()

    def take(push):
        given[subs[push["subscription"]]].append(push)
        if subs[push["subscription"]] == "accounts":
            balances.take(push["event"])

    def read(client, take):
        while not settled.is_set():
            rest_of(client, take, 0.5)
        read_until(client, take, complete)

    def complete():
        """The last that either is told is told by now. (Each topic goes its own way where a laggard is conflated.)"""
        tip, ledger, now = world.suite.chain("dev")["watermark"], world.ledger_ids(api), balances_of(api, ACCOUNT)
        blocks = [p["event"] for p in given["blocks"] if p["event"]["type"] == "block"]
        return ({k for k, e in ledger.items() if e["height"] > top} <= {p["event"]["id"] for p in given["entries"]} and blocks and blocks[-1]["hash"] == tip["hash"]
                and all(balances.amounts.get(asset) == now[asset] for asset in now))

    readers = [threading.Thread(target=read, args=a) for a in ((held, take), (dropping, lambda push: dropped.append(push["event"])))]
    for reader in readers:
        reader.start()
    assert busy.child.wait(240) == 0, busy.tail()
    world.settle()
    settled.set()
    for reader in readers:
        reader.join(120)
    for pushes in given.values():
        assert [p["seq"] for p in pushes] == list(range(1, len(pushes) + 1))
    ids = [p["event"]["id"] for p in given["entries"]]
    ledger = world.ledger_ids(api)
    assert len(ids) == len(set(ids)) and {k for k, e in ledger.items() if e["height"] > top} <= set(ids) <= set(ledger)
    blocks = [p["event"] for p in given["blocks"] if p["event"]["type"] == "block"]
    tip = world.suite.chain("dev")["watermark"]
    assert blocks[-1]["hash"] == tip["hash"] and len(blocks) < tip["height"] - top
    assert given["chain_status"]
    now = balances_of(api, ACCOUNT)
    assert {asset: balances.amounts.get(asset) for asset in now} == now and balances.kinds.count("snapshot") >= 2
    skips = [i for i, e in enumerate(dropped) if e["type"] == "skipped"]
    assert skips and dropped[skips[0]]["events"] > 0 and len([e for e in dropped if e["type"] == "entry"]) < len(ids)
    world.workload("--seed", "12", "--blocks", "2", "--reorgs", "0", wait=False)  # it reads meanwhile: else it would look dead
    while dropping.push(120)["event"].get("height", 0) <= tip["height"]:
        pass
    assert (world.suite.metric("gateway", "weir_gateway_websocket_closed_total", reason="slow") or 0) == 0


# ---- compression -----------------------------------------------------------------------------------------------------------------------------


def test_compressed_and_packed_pushes_are_the_same_in_fewer_bytes(world):
    subscription = {"topic": "entries", "chain": "dev", "from": {"height": 0}}
    plain = everything(Stream, world.suite.api, **subscription)
    client = Deflated(world.suite.api, None)
    assert "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n" in client.head
    client.subscribe(**subscription)
    pushes = [client.push() for _ in plain]
    assert [(p["offset"], p["event"]) for p in pushes] == plain
    size = sum(len(json.dumps(p, separators=(",", ":"))) for p in pushes)
    assert client.compressed > len(plain) * 0.9 and client.bytes < size * 0.85, (client.compressed, client.bytes, size)
    client.close()
    packed = Packed(world.suite.api, world.api().document)
    assert "Sec-WebSocket-Protocol: weir.msgpack\r\n" in packed.head
    packed.subscribe(**subscription)
    pushes = [packed.push() for _ in plain]
    assert [(p["offset"], p["event"]) for p in pushes] == plain
    assert packed.compressed > len(plain) * 0.5 and packed.bytes < client.bytes
    assert packed.ask("nothing")["error"]["code"] == "invalid_request" and packed.ask("ping")["result"]["pong"] is True
    packed.close()
    for offer in ("permessage-deflate; server_max_window_bits=10", "x-webkit-deflate-frame"):
        other = Deflated(world.suite.api, None, offer=offer)
        assert other.head.startswith("HTTP/1.1 101 ") and "Extensions" not in other.head
        other.close()


# ---- the documents ---------------------------------------------------------------------------------------------------------------------------


def test_asyncapi_says_what_openapi_says(world):
    """Every reference leads somewhere, every address is a path, and the events of a stream are those that there are."""
    document = world.api().document.document

    def lookup(root, pointer):
        for part in pointer.strip("/").split("/"):
            root = root[part]
        return root

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    assert ASYNC["asyncapi"] == "3.0.0" and ASYNC["info"]["version"] == document["info"]["version"]
    for reference in references(ASYNC):
        file, pointer = reference.split("#")
        assert file in ("", "openapi.json") and lookup(document if file else ASYNC, pointer)
    served = {c["address"] for c in ASYNC["channels"].values() if {"$ref": "#/servers/kafka"} not in c.get("servers", [])}
    assert served == {p for p, o in document["paths"].items() if "live" in o.get("get", {}).get("tags", [])}
    used = {m["$ref"] for o in ASYNC["operations"].values() for m in o["messages"] + o.get("reply", {}).get("messages", [])}
    assert used == {f"#/channels/{name}/messages/{m}" for name, c in ASYNC["channels"].items() for m in c["messages"]}
    stream = EventStream(world.suite.api, world.api().document)
    stream.subscribe(topic="blocks", chain="dev") # its first event is checked against the document
    stream.close()
