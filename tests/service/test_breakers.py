"""Breakers of a chain's endpoints as operators see them: which is open, since when, why, and when it is probed next."""
import datetime
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from alert_receivers import Door  # noqa: E402
from gateway_client import Api  # noqa: E402
from test_gateway import KEYS, VIEWER  # noqa: E402


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_an_endpoint_that_fails_is_told_with_its_reason_until_it_answers_again(tmp_path):
    node, redis, postgres = stack.anvil(tmp_path / "anvil.log"), stack.Redis(tmp_path / "redis").start(), stack.Postgres(tmp_path / "pg", ["fsync=off"]).start()
    door = Door(int(node.rpc.rsplit(":", 1)[1]))
    chain = stack.dev_chain(node, endpoints=[{"name": "door", "url": f"http://127.0.0.1:{door.address[1]}"}, {"name": "direct", "url": node.rpc}])
    suite = stack.Suite(tmp_path / "suite", redis.url, postgres.url, [chain], {"gateway": {"keys": KEYS}}).start()
    try:
        api = Api(suite.api, suite.admin)

        def told():
            return {(b["process"], b["endpoint"]): b for b in api.operate("GET", "/admin/v1/status", key=VIEWER)[1]["chains"][0].get("breakers", [])}

        fetchers = ("fetcher", "door")
        well = stack.wait_until("both processes tell of both", 60, lambda: len(t := told()) == 4 and t[fetchers]["state"] == "closed" and t)
        assert {p for p, _ in well} == {"fetcher", "reconciler"}
        assert all(b["reason"] == "" and b["opened_at"] is None and b["probe_at"] is None for b in well.values() if b["state"] == "closed")
        door.shut()
        broken = stack.wait_until("it is open, and a probe is planned", 60, lambda: (b := told()[fetchers])["state"] == "open" and b["probe_at"] and b)
        assert broken["reason"] and broken["errors"] >= 5
        assert moment(broken["opened_at"]) <= moment(broken["heard_at"]) < moment(broken["probe_at"])
        assert told()["fetcher", "direct"]["state"] == "closed"
        door.open()
        assert stack.wait_until("it answers", 60, lambda: (b := told()[fetchers])["state"] == "closed" and b)["opened_at"] is None
        assert suite.processes["fetcher"].stop() == 0
        stack.wait_until("the word of one that is gone is told no more", 60, lambda: {p for p, _ in told()} == {"reconciler"})
    finally:
        suite.stop()
        postgres.stop()
        redis.stop()
        node.stop()
