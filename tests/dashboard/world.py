"""A whole suite for the browser's tests: real Redis, PostgreSQL, node with traffic and reorgs, the four services, the dashboard's files.

With "several" as second argument there are two chains and two gateways. Prints one JSON line when it is ready, then obeys one JSON line at a time on standard input and answers with one; ends with its input.
    {"do": "park", "letters": 5}          frames that the normalizer can only put aside; with "bytes" each is larger by so many
    {"do": "queue", "behind": 3}          letters of the reconciler as from a file: one that failed, and those that wait behind it; tried, they are done
    {"do": "trouble"}                     a gap and incidents, of a kind that the reconciler does not look at again
    {"do": "follow", "account": "0x…"}    a WebSocket client with two subscriptions; without an account with one; "chain", and "at" which gateway
    {"do": "watch", "watchlist": "7"}     one that follows a watch-list of the admin's
    {"do": "stop" | "start", "service": "gateway"}
    {"do": "quiet"}                       the traffic ends
    {"do": "audit"}                       the newest actions of operators
    {"do": "kafka", "say": "up 0"}        to the brokers (tests/actors/kafka_mock.c); with "times" as often
    {"do": "received"}                    messages that the receiver of webhooks took; with "status" it answers test messages with that from now on
"""
import base64
import contextlib
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading

import redis as redis_client
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(ROOT / "tests" / "service")]
import stack  # noqa: E402
import wire  # noqa: E402
from alert_receivers import Posts  # noqa: E402
from gateway_client import Stream  # noqa: E402
from kafka_mock import Kafka  # noqa: E402
from webhook_receiver import Receiver  # noqa: E402

KEYS = [{"name": "local", "key": stack.ADMIN_KEY, "role": "admin"}, {"name": "eyes", "key": "viewer-key-0123456789", "role": "viewer"},
        {"name": "hands", "key": "operator-key-0123456789", "role": "operator"}]


class World:
    def __init__(self, folder, dashboard, several):
        os.chmod(folder, 0o755)
        self.folder, self.parts, self.streams, self.status = folder, [], [], 200
        # Only tests are refused: the chain's status comes each second, and ten refusals in a row open the breaker, behind which nothing is ever given up.
        self.posts, self.receiver = Posts(), Receiver(answer=lambda message, n: self.status if message.type == "test" else 200)
        self.redis = self.keep(stack.Redis(folder / "redis").start())
        self.postgres = self.keep(stack.Postgres(folder / "pg", ["fsync=off"]).start())
        self.node = self.keep(stack.anvil(folder / "anvil.log", "--slots", "4"))
        chains, self.second, self.kafka, more = [stack.dev_chain(self.node)], None, None, {}
        if several:
            self.other_node = self.keep(stack.anvil(folder / "anvil2.log", "--chain-id", "31338", "--mining", "1"))
            chains.append(stack.dev_chain(self.other_node, "second", chain_id=31338))
        else:
            self.kafka = Kafka()
            self.kafka.tell("topic weir.dev.ledger 4")
            more = {"kafka": {"url": self.kafka.url}}
        self.suite = self.keep(stack.Suite(folder / "suite", self.redis.url, self.postgres.url, chains,
                                           more | {"gateway": {"keys": KEYS, "dashboard_dir": str(dashboard), "session_secret": "the-session-secret-of-these-tests"},
                                            "webhooks": {"encryption_key": base64.b64encode(os.urandom(32)).decode(), "allow_loopback": True,
                                                         "retry_schedule": "20ms", "probe_interval": "300ms"},
                                            "alerts": {"destinations": [{"name": "chat", "kind": "slack", "url": self.posts.url + "/secret-path"}]}}))
        self.suite.start()
        if several:
            self.start_second()
        self.traffic = self.keep(stack.Process("workload", ["node", stack.CHAIN_LAB / "workload.mjs", "--rpc", self.node.rpc, "--forever", "--block-ms", "500",
                                                            "--txs-per-block", "12", "--reorg-every", "15", "--seed", "7"], folder / "workload.log").start())
        stack.wait_until("some blocks", 180, lambda: (self.suite.chain("dev")["watermark"] or {"height": 0})["height"] > 25)

    def keep(self, part):
        self.parts.append(part)
        return part

    def start_second(self):
        """Another gateway over the same stores."""
        ports = {name: f"127.0.0.1:{stack.free_port()}" for name in ("LISTEN", "ADMIN_LISTEN")}
        self.second = {name: f"http://{address}" for name, address in ports.items()}
        environment = {f"WEIR_GATEWAY_{name}": address for name, address in ports.items()} | {"WEIR_OPS_LISTEN_GATEWAY": "127.0.0.1:0"}
        self.second["process"] = self.keep(stack.Process("gateway2", [self.suite.bin / "weir-gateway", "--config", self.suite.config], self.folder / "gateway2.log", env=environment).start())
        stack.wait_until("the second gateway", 60, lambda: stack.http_json(self.second["LISTEN"] + "/v1/chains/dev")[0] == 200)

    def facts(self):
        sample = self.suite.get("/v1/chains/dev/blocks/latest/entries?limit=100")[1]["items"]
        busy = next((e for e in sample if e["asset"] == "native" and e["transaction_hash"]), sample[0])
        return {"admin": self.suite.admin, "api": self.suite.api, "keys": {k["role"]: k["key"] for k in KEYS}, "account": busy["account"], "receiver": self.receiver.url,
                "transaction": busy["transaction_hash"], "height": busy["height"],
                "second": self.second and {"api": self.second["LISTEN"], "admin": self.second["ADMIN_LISTEN"]}}

    def obey(self, order):
        what = order["do"]
        if what == "park":
            redis = redis_client.Redis(unix_socket_path=str(self.redis.socket))
            generation = int(redis.hget("weir:{dev}:raw:meta", "gen"))
            for i in range(order["letters"]):
                sequence = redis.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
                large = [(4, bytes(order["bytes"]))] if "bytes" in order else []
                body = wire.encode([(1, "elsewhere"), (3, 100 + i), *large]) if i % 3 or large else b"\xff\xff\xff"
                redis.xadd("weir:{dev}:raw:low", {"d": wire.framed(2, body, b"<b>key</b>")}, id=f"{generation}-{sequence}")
            stack.wait_until("dead letters", 60, lambda: len(self.suite.operate("GET", "/admin/v1/dlq")[1]["items"]) >= order["letters"])
        elif what == "queue":
            fork = wire.framed(5, wire.encode([(2, wire.encode([(1, 1 << 40), (2, bytes(32))]))]), b"queue")  # above the ledger: nothing is to be done
            head = [{"at_unix_ms": 1, "error_code": "timeout", "error": "the ledger gave no answer", "worker": "tests"}]
            lines = [{"weir_dead_letter": 1, "chain": "dev", "subscription": "reconciler", "topic": "blocks", "class": "low", "entry": f"1-{1000 + i}", "lane": "ordered", "key": "queue",
                      "type": "chain_fork", "reason": "" if i else "timeout", "kind": "follower" if i else "head", "parked_at_unix_ms": 1, "attempts": [] if i else head,
                      "frame": base64.b64encode(fork).decode()} for i in range(1 + order["behind"])]
            return self.suite.operate("POST", "/admin/v1/dlq/import", {"subscription": "reconciler", "lines": "\n".join(map(json.dumps, lines))})[1]
        elif what == "trouble":
            self.postgres.query("""
                insert into weir.gaps (chain, from_height, to_height, reason, detail, attempts, closed_at)
                    values (1, 5, 6, 'unproven', 'receipts_root failed at endpoint a', 2, now()), (1, 900000, 900002, 'missing', '', 1, null);
                -- Of the native asset: incidents of a token that is found to lie are closed. The open one is of an account without a balance: those that have one are
                -- compared again while any incident is open, and this one would be found well.
                with native as (select b.account, b.asset from weir.balances b join weir.assets a on a.id = b.asset where a.contract = ''),
                    nobody as (insert into weir.accounts (chain, address) values (1, decode(repeat('ab', 20), 'hex')) returning id)
                insert into weir.incidents (chain, kind, state, account, asset, height, first_wrong_height, expected, observed, resolution, evidence, closed_at)
                    select 1, 'finality_violation', 'bisected', (select id from nobody), asset, 12, 11, 1000000000000000000, 1000000000000000005, null,
                        '{"endpoints": ["a", "b"], "asked": 2}'::jsonb, null::timestamptz from native group by asset
                    union all select 1, 'mismatch', 'closed', min(account), asset, 9, 9, 10, 11, 'healed', '{}'::jsonb, now() from native group by asset""")
        elif what == "follow":
            self.streams.append(Stream(order.get("at") or self.suite.api))
            self.streams[-1].subscribe(topic="blocks", chain=order.get("chain", "dev"))
            if "account" in order:
                self.streams[-1].subscribe(topic="entries", chain="dev", account=order["account"], kind="token_transfer")
            threading.Thread(target=self.read, args=(self.streams[-1],), daemon=True).start()
        elif what == "watch":
            self.streams.append(Stream(self.suite.api, header=[f"X-Api-Key: {stack.ADMIN_KEY}"]))
            self.streams[-1].subscribe(topic="watchlist", chain="dev", watchlist=order["watchlist"])
            threading.Thread(target=self.read, args=(self.streams[-1],), daemon=True).start()
        elif what == "stop" and order["service"] == "gateway2":
            self.second["process"].stop()
        elif what == "stop":
            self.suite.processes[order["service"]].stop()
        elif what == "start":
            self.suite.start([order["service"]])
        elif what == "quiet":
            self.traffic.stop(60)
        elif what == "kafka":
            for _ in range(order.get("times", 1)):
                self.kafka.tell(order["say"])
        elif what == "audit":
            redis = redis_client.Redis(unix_socket_path=str(self.redis.socket), decode_responses=True)
            return [fields for _, fields in redis.xrevrange("weir:{dev}:audit", count=10)]
        elif what == "received":
            self.status = order.get("status", self.status)
            return [message.type for message in self.receiver.taken]
        else:
            raise ValueError(f"no such order: {what}")
        return {}

    @staticmethod
    def read(stream):
        """One that does not read is dropped after a while."""
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while True:
                stream.receive(3600)

    def stop(self):
        for part in reversed(self.parts):
            part.stop()
        if self.kafka:
            self.kafka.close()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="weir-dashboard-") as folder:
        world = None
        try:
            world = World(pathlib.Path(folder), sys.argv[1], sys.argv[2:] == ["several"])
            print(json.dumps(world.facts()), flush=True)
            for line in sys.stdin:
                print(json.dumps(world.obey(json.loads(line))), flush=True)
        finally:
            if world:
                world.stop()


if __name__ == "__main__":
    main()
