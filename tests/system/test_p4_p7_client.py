"""P4, P7: a WebSocket client that goes away and comes back at random, through reorgs, and resumes by the last offset it saw, holds at the
end exactly the ledger's entries: retracted ones are gone, none is missing, none is there twice."""
import json
import random
import threading
import time

import websocket

from conftest import caught_up
from stack import dev_chain, wait_until


class Client(threading.Thread):
    def __init__(self, url, seed):
        super().__init__(daemon=True)
        self.url, self.rng = url, random.Random(seed)
        self.entries, self.offset, self.twice, self.unknown, self.connects = {}, None, [], [], 0
        self.stop, self.lock, self.failure = threading.Event(), threading.Lock(), None

    def run(self):
        while not self.stop.is_set():
            try:
                self.once()
            except (OSError, websocket.WebSocketException):
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.failure = error
                return

    def once(self):
        ws = websocket.create_connection(self.url, timeout=1)
        start = {"offset": self.offset} if self.offset else {"height": 0}
        ws.send(json.dumps({"id": 1, "method": "subscribe", "params": {"topic": "entries", "chain": "dev", "from": start}}))
        self.connects += 1
        leave = time.monotonic() + self.rng.uniform(0.3, 2.0)
        while not self.stop.is_set() and time.monotonic() < leave:
            try:
                message = json.loads(ws.recv())
            except websocket.WebSocketTimeoutException:
                continue
            assert "error" not in message, message
            if "event" in message:
                self.take(message)
        ws.sock.close()  # without goodbye

    def take(self, message):
        event = message["event"]
        with self.lock:
            if event["type"] == "retracted":
                for gone in event["ids"]:
                    if self.entries.pop(gone, None) is None:
                        self.unknown.append(gone)
            elif event["type"] == "entry":
                entry = event.get("entry", event)
                if entry["id"] in self.entries:
                    self.twice.append(entry["id"])
                self.entries[entry["id"]] = entry["height"]
            self.offset = message["offset"]


def ledger_entries(suite, height):
    ids = set()
    for h in range(height + 1):
        cursor = ""
        while cursor is not None:
            status, page, _ = suite.get(f"/v1/chains/dev/blocks/{h}/entries?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            assert status == 200, page
            ids.update(entry["id"] for entry in page["items"] if not entry.get("superseded"))
            cursor = page["next_cursor"]
    return ids


def test_client_holds_the_ledger(world, size):
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)]).start()
    client = Client(suite.api.replace("http", "ws") + "/v1/ws", 5)
    client.start()
    workload = world.workload(node, **{"seed": 5, "blocks": size(60, 300), "reorgs": size(8, 20), "pace-ms": 150})
    assert workload.wait(400) == 0, workload.tail()
    caught_up(suite, node)
    expected = ledger_entries(suite, node.height())

    def equal():
        if client.failure:
            raise AssertionError(client.failure)
        with client.lock:
            return set(client.entries) == expected

    try:
        wait_until("the client to hold the ledger's entries", 30, equal, 0.2)
    except TimeoutError:
        held = set(client.entries)
        raise AssertionError(f"missing {len(expected - held)}, too many {len(held - expected)}, of {len(expected)}; {client.connects} connections; "
                             f"e.g. {[(i, client.entries[i]) for i in list(held - expected)[:3]]}") from None
    finally:
        client.stop.set()
    assert not client.twice and not client.unknown, (client.twice[:5], client.unknown[:5])
    assert client.connects > 3
