"""Offsets and heights to resume from: good wherever the ledger has what they stand behind, and refused with a way on where it has something else."""
import json
import pathlib
import sys
import urllib.error
import urllib.request

import pytest
import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Api, Stream  # noqa: E402
from journal import Journal  # noqa: E402


def hash_of(height, branch=0):
    return bytes([0xa0 + branch]) + height.to_bytes(31, "big")


def hexed(data):
    return "0x" + data.hex()


@pytest.fixture
def stores(tmp_path):
    stores = Stores(tmp_path)
    yield stores
    stores.stop()


def subscribe(gateway, begin, document=None):
    """(the connection, the answer's result or None, its error or None)"""
    stream = Stream(gateway.api, document, seconds=30)
    answer = stream.ask("subscribe", {"topic": "blocks", "chain": "dev", "from": begin})
    return stream, answer.get("result"), answer.get("error")


def told(gateway, begin, count, document=None):
    """(offset, what) of so many pushes."""
    stream, result, error = subscribe(gateway, begin, document)
    assert result, error
    pushes = [stream.push(30) for _ in range(count)]
    stream.close()
    return [(p["offset"], (p["event"]["type"], p["event"].get("hash") or p["event"].get("block_hash"))) for p in pushes]


def refused(gateway, query):
    """The same by plain HTTP: status and problem of a poll and of a stream."""
    out = []
    for path in ("poll", "stream"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{gateway.api}/v1/{path}?topic=blocks&chain=dev&{query}", timeout=60)
        out.append((caught.value.code, json.loads(caught.value.read())))
    return out


def blocks(*hashes):
    return [("block", hexed(h)) for h in hashes]


def test_an_offset_is_good_in_the_ledger_that_it_was_given_in(stores):
    journal = Journal(stores)
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 6)])
    gateway = stores.gateway()
    document = Api(gateway.api, gateway.admin).document
    before = told(gateway, {"offset": "0"}, 5, document)
    assert [what for _, what in before] == blocks(*[hash_of(h) for h in range(1, 6)])
    for i in range(4):
        assert told(gateway, {"offset": before[i][0]}, 4 - i) == before[i + 1:]
    chain = gateway.get("/v1/chains/dev")[1]
    assert chain["offset"] == before[4][0], "what REST tells is an offset to subscribe from"
    watching, result, _ = subscribe(gateway, {"offset": chain["offset"]})
    assert result["offset"] == chain["offset"]

    # The database is restored as it was after block 3 and has grown past block 5 before anybody looks: sequences 4 and 5 are other events now.
    journal.write(journal.restored(3, 3), *[journal.apply(hash_of(h, 1)) for h in (4, 5, 6)])
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        while True:
            watching.push(60) # nothing may come but the end
            raise AssertionError("a push of another ledger")
    after = told(gateway, {"offset": "0"}, 6, document)
    assert [what for _, what in after] == blocks(*[hash_of(h) for h in (1, 2, 3)], *[hash_of(h, 1) for h in (4, 5, 6)])
    assert after[:3] == before[:3] and after[3:5] != before[3:5]
    assert told(gateway, {"offset": before[2][0]}, 3) == after[3:], "what both ledgers have is where a client may go on"
    for offset, words in ((before[3][0], "restored"), (before[4][0], "restored"), (after[5][0].replace("6-", "7-"), "beyond the end"), ("3", "does not say which ledger")):
        stream, _, error = subscribe(gateway, {"offset": offset}, document)
        assert error["code"] == "offset_unknown" and words in error["message"] and "subscribe from a height" in error["message"], (offset, error)
        stream.close()
        for status, problem in refused(gateway, f"offset={offset}"):
            assert (status, problem["code"]) == (410, "offset_unknown") and words in problem["detail"]
    # The way on that the message names.
    assert [what for _, what in told(gateway, {"height": 4}, 3)] == [what for _, what in after[3:]]


@pytest.mark.parametrize("text", ["3-", "3-0", "3-00000000", "3-1234567", "3-123456789", "3-ABCDEF01", "3-1234567g", "-12345678", "3.1-12345678"])
def test_what_is_no_offset(gateway_for_texts, text):
    stream, _, error = subscribe(gateway_for_texts, {"offset": text})
    assert error["code"] == "invalid_request" and "not one that this server gave" in error["message"]
    stream.close()


@pytest.fixture(scope="module")
def gateway_for_texts(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("texts"))
    yield stores.gateway()
    stores.stop()


def test_a_height_with_the_block_that_the_client_knows(stores):
    journal = Journal(stores)
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 5)])
    gateway = stores.gateway()
    document = Api(gateway.api, gateway.admin).document
    assert told(gateway, {"height": 4, "hash": hexed(hash_of(4))}, 1, document)[0][1] == ("block", hexed(hash_of(4)))
    journal.write(journal.retract(), journal.retract(), journal.retract(), *[journal.apply(hash_of(h, 1)) for h in (2, 3)])
    assert [what for _, what in told(gateway, {"height": 2, "hash": hexed(hash_of(2, 1))}, 2)] == blocks(hash_of(2, 1), hash_of(3, 1))
    assert told(gateway, {"height": 1, "hash": hexed(hash_of(1))}, 7)
    common = {"height": 1, "hash": hexed(hash_of(1))}
    for height, hash, code, ancestor in ((3, hash_of(3), "reorged", common), (4, hash_of(4), "reorged", common), # of which there is no other yet
                                         (2, hash_of(2), "reorged", common), (2, hash_of(9), "reorged", None), (9, hash_of(9), "height_unknown", None)):
        stream, _, error = subscribe(gateway, {"height": height, "hash": hexed(hash)}, document)
        assert error["code"] == code and error.get("ancestor") == ancestor, (height, error)
        assert not ancestor or "block 1 " in error["message"]
        stream.close()
        for status, problem in refused(gateway, f"height={height}&hash={hexed(hash)}"):
            assert (status, problem["code"]) == ({"reorged": 410, "height_unknown": 404}[code], code) and problem["detail"] == error["message"]
    for begin in ({"hash": hexed(hash_of(1))}, {"height": 1, "hash": "0x12"}, {"height": 1, "hash": 5}, {"offset": "0", "hash": hexed(hash_of(1))}):
        stream, _, error = subscribe(gateway, begin)
        assert error["code"] == "invalid_request", begin
        stream.close()
    assert [s for s, _ in refused(gateway, f"hash={hexed(hash_of(1))}")] == [400, 400]


def test_who_is_too_slow_is_told_no_offset_of_a_subscription_that_it_gave_up(stores):
    """A client takes nothing, gives up what its queue is full of, and asks for something else: of that nothing was given yet. An offset of the other one would
    have it leave out all that is before."""
    journal = Journal(stores)
    journal.write(*[journal.apply(hash_of(h)) for h in range(1, 801)])
    gateway = stores.gateway({"gateway": {"websocket_queue": "64KiB"}})
    stream = Stream(gateway.api, seconds=60, window=4096)
    stream.subscribe(topic="blocks", chain="dev", **{"from": {"offset": "0"}})

    def held_up():
        items = gateway.operate("GET", "connections")[1]["items"]
        return bool(items) and items[0]["state"] == "slow" and items[0]["queued_frames"] > 10

    stack.wait_until("the queue to be full", 60, held_up)
    stream.ws.send(json.dumps({"id": 100, "method": "unsubscribe", "params": {"subscription": "1"}}))
    stream.ws.send(json.dumps({"id": 101, "method": "subscribe", "params": {"topic": "blocks", "chain": "dev", "from": {"height": 1}}}))
    for _ in range(1500):
        stream.ws.send(json.dumps({"id": 102, "method": "ping"}))
    newest, opcode, data = {}, None, b""
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, data = stream.ws.recv_data(control_frame=True)
        push = json.loads(data) if opcode == websocket.ABNF.OPCODE_TEXT else {}
        if "event" in push:
            newest[push["subscription"]] = push["offset"]
    code, reason = int.from_bytes(data[:2], "big"), data[2:].decode()
    assert code == 1013 and "1" in newest
    assert reason.partition(" offset ")[2] in ("", newest.get("2")), (reason, newest)
    gateway.stop()
