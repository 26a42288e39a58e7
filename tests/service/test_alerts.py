"""Alerts: to several destinations by severity, grouped, silenced with a reason and an end, taken back, tried by operators."""
import json
import pathlib
import re
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from alert_receivers import Door, Posts, Smtp  # noqa: E402
from gateway_client import Api  # noqa: E402
from test_gateway import KEYS, OPERATOR, VIEWER  # noqa: E402
from test_weirctl import Weirctl  # noqa: E402

ALERTS = "/admin/v1/alerts"
PASSWORD = "mail-password-0123456789"


class World:
    """A suite whose node can be taken away, and everything that alerts go to."""

    def __init__(self, folder):
        self.posts, self.smtp = Posts(), Smtp()
        self.node = stack.anvil(folder / "anvil.log")
        self.door = Door(int(self.node.rpc.rsplit(":", 1)[1]))
        self.redis = stack.Redis(folder / "redis").start()
        self.postgres = stack.Postgres(folder / "pg", ["fsync=off"]).start()
        chain = stack.dev_chain(self.node, endpoints=[{"name": "a", "url": f"http://127.0.0.1:{self.door.address[1]}"}])
        destinations = [{"name": "chat", "kind": "slack", "url": self.posts.url + "/slack"},
                        {"name": "machine", "kind": "webhook", "url": self.posts.url + "/machine", "severity": "page"},
                        {"name": "mail", "kind": "email", "to": "on-call@example.com, second@example.com", "severity": "page"}]
        self.suite = stack.Suite(folder / "suite", self.redis.url, self.postgres.url, [chain], {"gateway": {"keys": KEYS}, "alerts": {
            "destinations": destinations, "group_wait": "100ms", "cooldown": "0s", "runbook_url": "https://wiki.example.com/runbook",
            "webhook_url": self.posts.url + "/old", "smtp_url": self.smtp.url, "smtp_tls": "none", "smtp_from": "weir@example.com", "smtp_username": "weir",
            "smtp_password": PASSWORD}}).start()

    def lose(self):
        """The node is away; waits for the alert in the fetcher's log."""
        before = self.said("alert_firing")
        self.door.shut()
        stack.wait_until("the alert", 60, lambda: self.said("alert_firing") > before)

    def find(self):
        before = self.said("alert_resolved")
        self.door.open()
        stack.wait_until("the all-clear", 60, lambda: self.said("alert_resolved") > before)

    def said(self, event):
        return self.suite.processes["fetcher"].log.read_text().count(f"event={event} ")

    def counted(self, outcome):
        return self.suite.metric("fetcher", "weir_alert_posts_total", result=outcome)

    def stop(self):
        statuses = self.suite.stop()
        self.postgres.stop()
        self.redis.stop()
        self.node.stop()
        self.posts.close()
        self.smtp.close()
        return statuses


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("alerts"))
    try:
        yield world
    finally:
        statuses = world.stop()
    assert statuses["gateway"] == statuses["fetcher"] == 0


@pytest.fixture
def api(world):
    return Api(world.suite.api, world.suite.admin)


def test_an_alert_and_its_end_reach_every_destination(world):
    world.lose()
    link = "https://wiki.example.com/runbook/chain-endpoints.md"
    slack = stack.wait_until("the chat", 60, lambda: world.posts.at("/slack"))[0]
    assert slack["text"].startswith("[FIRING] weir fetcher: chain dev: ") and slack["text"].endswith(f"({link})")
    machine = stack.wait_until("the machine", 60, lambda: world.posts.at("/machine"))[0]
    assert (machine["version"], machine["process"], machine["count"]) == (1, "fetcher", 1)
    alert = machine["alerts"][0]
    assert (alert["state"], alert["severity"], alert["key"], alert["runbook"]) == ("firing", "page", "endpoints dev", link)
    sender, receivers, mail = stack.wait_until("the mail", 60, lambda: world.smtp.mails)[0]
    assert (sender, receivers, mail["To"], mail["From"]) == ("weir@example.com", ["on-call@example.com", "second@example.com"],
                                                             "on-call@example.com, second@example.com", "weir@example.com")
    assert mail["Subject"].startswith("[FIRING] weir fetcher: chain dev: ") and mail["Date"].datetime and mail["Message-ID"] and mail["Auto-Submitted"]
    assert mail.get_content().rstrip("\r\n").replace("\r\n", "\n") == slack["text"]
    assert world.smtp.logins[0] == [b"weir", PASSWORD.encode()]
    assert world.posts.at("/old")[0] == slack, "alerts.webhook_url is a destination like others"
    world.find()
    stack.wait_until("the end everywhere", 60, lambda: len(world.posts.at("/slack")) == len(world.posts.at("/machine")) == len(world.smtp.mails) == 2)
    assert world.posts.at("/slack")[1]["text"].startswith("[RESOLVED]") and world.posts.at("/machine")[1]["alerts"][0]["state"] == "resolved"
    stack.wait_until("all of them counted", 60, lambda: world.counted("sent") == 8)


def test_what_is_silenced_is_not_heard_nor_taken_back(world, api):
    before = len(world.posts.bodies), len(world.smtp.mails), world.counted("silenced")
    status, silence = api.operate("POST", ALERTS + "/silences", {"pattern": "endpoints *", "seconds": 3600, "why": "the provider moves"}, key=OPERATOR)
    assert status == 200 and (silence["pattern"], silence["who"], silence["reason"]) == ("endpoints *", "hands", "the provider moves")
    listed = api.operate("GET", ALERTS, key=VIEWER)[1]
    assert listed["silences"] == [silence]
    world.lose()
    stack.wait_until("silenced", 60, lambda: world.counted("silenced") == before[2] + 1)
    assert api.operate("POST", f"{ALERTS}/silences/{silence['id']}/end", {"why": "moved"}, key=OPERATOR) == (200, {"count": 1})
    world.find()
    stack.wait_until("its end is not told either", 60, lambda: world.counted("silenced") == before[2] + 2)
    assert (len(world.posts.bodies), len(world.smtp.mails)) == before[:2]
    assert api.operate("GET", ALERTS)[1]["silences"] == []
    assert api.operate("POST", f"{ALERTS}/silences/{silence['id']}/end", {})[0] == 404
    world.lose()
    stack.wait_until("heard again", 60, lambda: (len(world.posts.bodies), len(world.smtp.mails)) == (before[0] + 3, before[1] + 1))
    world.find()
    stack.wait_until("and taken back", 60, lambda: (len(world.posts.bodies), len(world.smtp.mails)) == (before[0] + 6, before[1] + 2))
    lines = api.operate("GET", "/admin/v1/audit?chain=gateway")[1]["items"]
    assert {"alert_silence", "alert_unsilence"} <= {line["words"].get("action") for line in lines}


def restart_reconciler(world, sql):
    """With something done to its tables in between."""
    world.suite.processes["reconciler"].stop()
    world.postgres.query(sql)
    world.suite.start(("reconciler",))
    return world.suite.processes["reconciler"].log


def test_the_patterns_of_the_handbook_cover_the_keys_that_processes_raise(world, api):
    handbook = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    pattern = re.search("weirctl alert silence '(gap .*?)'", handbook)[1]
    status, silence = api.operate("POST", ALERTS + "/silences", {"pattern": pattern, "seconds": 3600, "why": "backfill"})
    assert status == 200
    # A gap that was asked for eleven times in vain: the twelfth raises the alert. Blocks are asked for while the chain is ahead of the ledger.
    world.suite.processes["normalizer"].stop()
    world.node.call("anvil_mine", "0x2")
    log = restart_reconciler(world, "insert into weir.gaps (chain, from_height, to_height, reason, attempts) select id, 900000, 900000, 'missing', 11 from weir.chains")
    try:
        stack.wait_until("the alert", 60, lambda: 'alert="gap dev 900000"' in log.read_text())
        stack.wait_until("it silenced", 60, lambda: world.suite.metric("reconciler", "weir_alert_posts_total", result="silenced") == 1)
    finally:
        world.suite.start(("normalizer",))
        restart_reconciler(world, "update weir.gaps set closed_at = now()")
        api.operate("POST", f"{ALERTS}/silences/{silence['id']}/end", {"why": "over"})


def test_a_finalized_block_that_goes_back_is_told_and_so_is_its_end(world):
    heard = len(world.posts.at("/machine"))
    world.node.call("anvil_mine", "0x64")
    stack.wait_until("finalized blocks", 60, lambda: int(world.postgres.query("select finalized_height from weir.chains")[0][0]) > 20)
    world.node.call("anvil_reorg", 90, [])
    world.node.call("anvil_mine", "0x2")

    def told():
        return [(a["key"], a["state"]) for post in world.posts.at("/machine")[heard:] for a in post["alerts"]]
    stack.wait_until("the alert and its end", 60, lambda: told() == [("finality dev", "firing"), ("finality dev", "resolved")])


def test_an_alert_that_one_post_lost_is_posted_again(world):
    heard, before = len(world.posts.at("/machine")), world.counted("retried")
    world.posts.failing = {"/machine": 2}
    world.lose()
    stack.wait_until("it taken at last", 60, lambda: len(world.posts.at("/machine")) >= heard + 3)
    one, two, three = world.posts.at("/machine")[heard:heard + 3]
    assert one["alerts"] == two["alerts"] == three["alerts"] and world.counted("retried") == before + 2
    assert world.counted("failed") == 0
    world.find()
    stack.wait_until("and its end", 60, lambda: world.posts.at("/machine")[-1]["alerts"][-1]["state"] == "resolved")


def test_a_silence_ends_by_itself(world, api):
    status, silence = api.operate("POST", ALERTS + "/silences", {"pattern": "chain-endpoints", "seconds": 1, "why": "a page of the runbook"})
    assert status == 200
    stack.wait_until("it is over", 60, lambda: api.operate("GET", ALERTS)[1]["silences"] == [])
    assert silence["created_at"] < silence["expires_at"]


def test_operators_try_destinations(world, api):
    before = len(world.posts.bodies), len(world.smtp.mails)
    status, answer = api.operate("POST", ALERTS + "/test", {}, key=OPERATOR)
    assert status == 200 and [(i["name"], i["kind"], i["taken"], i["error"]) for i in answer["items"]] == [
        ("webhook_url", "slack", True, None), ("chat", "slack", True, None), ("machine", "webhook", True, None), ("mail", "email", True, None)]
    assert (len(world.posts.bodies), len(world.smtp.mails)) == (before[0] + 3, before[1] + 1)
    assert "hands" in world.posts.at("/slack")[-1]["text"]
    world.posts.status = 500
    answer = api.operate("POST", ALERTS + "/test", {"destination": "chat"})[1]
    world.posts.status = 200
    assert len(answer["items"]) == 1 and not answer["items"][0]["taken"] and "500" in answer["items"][0]["error"]
    assert api.operate("POST", ALERTS + "/test", {"destination": "nobody"})[1]["code"] == "not_found"
    for path, body in (("/test", {}), ("/silences", {"pattern": "x", "seconds": 5, "why": "x"}), ("/silences/1/end", {})):
        assert api.operate("POST", ALERTS + path, body, key=VIEWER)[0] == 403
    for body in ({"pattern": "x", "seconds": 0, "why": "x"}, {"pattern": "x", "seconds": 5}, {"seconds": 5, "why": "x"}, {"pattern": "x" * 160, "seconds": 5, "why": "x"}):
        assert api.operate("POST", ALERTS + "/silences", body)[0] == 400
    text = json.dumps([api.operate("GET", ALERTS)[1], api.operate("GET", "/admin/v1/settings")[1]])
    assert PASSWORD not in text and "/slack" not in text and "on-call@example.com" in text


def test_weirctl_tries_and_silences(world):
    weirctl = Weirctl(world.suite)
    assert all(item["taken"] for item in weirctl.json("alert", "test")["items"])
    assert weirctl.json("alert", "test", "mail")["items"][0]["kind"] == "email"
    weirctl.refused(66, "alert", "test", "nobody")
    assert "--why" in weirctl.refused(64, "alert", "silence", "gap *", "60")
    silence = weirctl.json("alert", "silence", "gap *", "60", "--why", "maintenance")
    assert weirctl.json("alert", "list")["silences"] == [silence]
    assert weirctl.json("alert", "unsilence", silence["id"]) == {"count": 1}


@pytest.mark.parametrize("alerts,words", [
    ({"destinations": [{"kind": "slack", "url": "http://a"}]}, "destinations[0].name"),
    ({"destinations": [{"name": "a", "url": "ftp://a"}]}, "destinations[0].url"),
    ({"destinations": [{"name": "a", "kind": "pager", "url": "http://a"}]}, "slack, webhook, email"),
    ({"destinations": [{"name": "a", "kind": "email", "to": "somebody"}]}, "destinations[0].to"),
    ({"destinations": [{"name": "a", "kind": "email", "to": "a@b\r\nBcc: c@d"}]}, "destinations[0].to"),
    ({"destinations": [{"name": "a", "kind": "email", "to": "a@b"}]}, "alerts.smtp_url"),
    ({"destinations": [{"name": "a", "kind": "email", "to": "a@b"}], "smtp_url": "smtp://c"}, "alerts.smtp_from"),
    ({"destinations": [{"name": "a", "url": "http://a"}, {"name": "a", "url": "http://b"}]}, "two destinations"),
])
def test_wrong_settings_are_named(tmp_path, world, alerts, words):
    suite = stack.Suite(tmp_path, world.redis.url, world.postgres.url, [], {"alerts": alerts})
    process = stack.Process("fetcher", [suite.bin / "weir-fetcher", "--config", suite.config, "--check"], tmp_path / "log").start()
    assert process.wait(60) == 78 and words in process.tail(40), process.tail(40)


def test_a_mail_is_not_sent_in_the_clear_unless_said(tmp_path, world):
    """The server here offers no TLS: without alerts.smtp_tls none nothing is said to it, not even the password. It is this test's own: whatever else
    happens to the suite while this runs is told to the other one."""
    smtp, port = Smtp(), stack.free_port()
    process = stack.Process("gateway2", [world.suite.bin / "weir-gateway", "--config", world.suite.config], tmp_path / "log", env={
        "WEIR_ALERTS_SMTP_URL": smtp.url, "WEIR_ALERTS_SMTP_TLS": "required", "WEIR_GATEWAY_LISTEN": "127.0.0.1:0",
        "WEIR_GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{port}", "WEIR_OPS_LISTEN_GATEWAY": "127.0.0.1:0"}).start()
    try:
        base, head = f"http://127.0.0.1:{port}{ALERTS}", {"Authorization": f"Bearer {stack.ADMIN_KEY}"}
        stack.wait_until("the gateway", 60, lambda: stack.http_json(base, headers=head)[0] == 200)
        status, answer, _ = stack.http_json(base + "/test", "POST", {"destination": "mail"}, head)
        assert status == 200, answer
        assert not answer["items"][0]["taken"] and answer["items"][0]["error"]
        assert smtp.connections > 0, "it was asked for TLS"
    finally:
        process.stop()
        process.check_sanitizers()
    assert not smtp.mails and not smtp.logins
    smtp.close()
