"""Webhooks: signed messages to receivers, in order, at least once, whatever dies; nowhere but to the public Internet."""
import base64
import collections
import json
import os
import pathlib
import random
import re
import sys
import threading
import time

import psycopg2
import pytest
import websocket

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_client import Stream  # noqa: E402
from test_gateway import C, OPERATOR, VIEWER, World, reorg  # noqa: E402
from test_weirctl import Weirctl  # noqa: E402
from webhook_receiver import Receiver, make_ca  # noqa: E402

HOOKS = "/admin/v1/webhooks"
SETTINGS = {"encryption_key": base64.b64encode(os.urandom(32)).decode(), "allow_loopback": True, "timeout": "6s", # of a receiver on a busy machine
             "breaker_failures": 6,
            "retry_schedule": "10ms, 20ms, 40ms, 80ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms", "probe_interval": "200ms"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("webhooks")
    ca, certificate = make_ca(folder)
    world = World(folder, {"webhooks": dict(SETTINGS, ca_file=str(ca)), "gateway": {"request_timeout": "60s"}})
    world.certificate = certificate
    try:
        world.workload("--seed", "31", "--blocks", "18", "--reorgs", "1", "--txs-per-block", "6", "--pace-ms", "20")
        yield world
    finally:
        statuses = world.stop()
    assert statuses["gateway"] == 0


@pytest.fixture
def hooks(world):
    """Registers receivers, and removes them again."""
    made = Hooks(world)
    yield made
    for id, receiver in made.made:
        made.post(f"/{id}/remove", {"why": "end of the test"})
        receiver.close()


class Hooks:
    def __init__(self, world):
        self.world, self.api, self.made = world, world.api(), []

    def post(self, path, body=None, key=None):
        status, answer = self.api.operate("POST", HOOKS + path, body or {}, key=key)
        assert status == 200, (path, status, answer)
        return answer

    def get(self, path=""):
        status, answer = self.api.operate("GET", HOOKS + path)
        assert status == 200, (path, status, answer)
        return answer

    def add(self, answer=None, tls=False, receiver=None, **body):
        receiver = receiver or Receiver(self.world.certificate if tls else None, answer)
        hook = self.post("", {"url": receiver.url, "chain": "dev", **body})
        if hook["secret"].startswith("whsec_"):
            receiver.secrets.append(hook["secret"])
        self.made.append((hook["id"], receiver))
        return hook["id"], receiver

    def state(self, id):
        return self.get(f"/{id}")["state"]

    def deliveries(self, id, query=""):
        found, cursor = [], ""
        while cursor is not None:
            page = self.get(f"/{id}/deliveries?limit=1000{query}{cursor}")
            found += page["items"]
            cursor = page["next_cursor"] and "&cursor=" + page["next_cursor"]
        return found

    def settle(self, id, seconds=60):
        """Everything that the journal has by now is delivered."""
        newest = self.world.sql("select journal_sequence from weir.chains")[0][0]

        def done():
            hook = self.get(f"/{id}")
            position = int(re.match(r"-?\d+", hook["position"] or "-1")[0])  # the sequence; what stands behind it is the place within
            return position >= newest and hook["pending"] == hook["failed"] == 0
        stack.wait_until(f"webhook {id} is level ({self.world.folder})", seconds, done)


def busiest(world):
    """The account with the most entries."""
    return world.sql("select '0x' || encode(a.address, 'hex') from weir.entries e join weir.accounts a on a.id = e.account group by 1"
                     " order by count(*) desc limit 1")[0][0]


def pushes(world, least, **subscription):
    """The events that a WebSocket client gets from the beginning on: at least so many, and what comes before a silence."""
    stream, found, deadline = Stream(world.suite.api), [], time.monotonic() + 60
    stream.subscribe(chain="dev", **{"from": {"height": 0}}, **subscription)
    while True:
        try:
            found.append(stream.push(1.5)["event"])
        except websocket.WebSocketTimeoutException:
            if len(found) >= least or time.monotonic() > deadline:
                stream.close()
                return found


def test_receivers_are_told_what_websocket_clients_are(world, hooks):
    entries, by_tls = hooks.add(topic="entries", from_height=0, tls=True)
    blocks, plain = hooks.add(topic="blocks", from_height=0)
    account = busiest(world)
    one, single = hooks.add(topic="accounts", account=account, from_height=0)
    native, coin = hooks.add(topic="entries", account=account, asset="native", from_height=0)
    fees, paid = hooks.add(topic="entries", kind="fee", from_height=0)
    assert (hooks.get(f"/{fees}")["kind"], hooks.get(f"/{native}")["kind"]) == ("fee", None)
    for id in (entries, blocks, one):
        hooks.settle(id)
    given = [m.data for m in by_tls.unique()]
    expected = pushes(world, len(given), topic="entries")
    assert sorted(json.dumps(e) for e in given) == sorted(json.dumps(e) for e in expected)
    assert any(e["type"] == "retracted" for e in given)
    order = collections.defaultdict(list)
    for event in expected:
        order[event.get("account")].append(event)
    for account_, events in order.items():
        assert [e for e in given if e.get("account") == account_] == events, "each account's events are in order"
    assert by_tls.most_open == plain.most_open == single.most_open == 1, "one at a time"
    assert set(by_tls.held()) == set(hooks.world.ledger_ids(hooks.api))
    assert [m.data for m in plain.unique()] == pushes(world, len(plain.unique()), topic="blocks")
    assert [m.data for m in single.unique()] == pushes(world, len(single.unique()), topic="accounts", account=account)
    stack.wait_until("native only", 60, lambda: set(coin.held()) == set(world.ledger_ids(hooks.api, account=account, asset="native")))
    hooks.settle(fees)
    assert sorted(json.dumps(m.data) for m in paid.unique()) == sorted(json.dumps(e) for e in pushes(world, len(paid.unique()), topic="entries", kind="fee"))
    assert set(paid.held()) == {id for id, entry in hooks.world.ledger_ids(hooks.api).items() if entry["kind"] == "fee"}
    assert len({m.id for m in by_tls.taken + plain.taken}) == len(by_tls.taken) + len(plain.taken), "nothing was sent twice"
    item = hooks.deliveries(entries, "&state=delivered")[0]
    full = hooks.get(f"/{entries}/deliveries/{item['id']}")
    assert full["body"] in [m.json for m in by_tls.taken] and [h["status"] for h in full["history"]] == [200]


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_when_gateways_are_killed(world, hooks, seed):
    rng = random.Random(seed)
    world.second_gateway()
    answers = lambda message, n: 200 if rng.random() < 0.9 else rng.choice([500, 503, None])  # noqa: E731
    entries, receiver = hooks.add(answers, topic="entries")
    blocks, block_receiver = hooks.add(answers, topic="blocks")
    newest = world.sql("select journal_sequence from weir.chains")[0][0]
    known, sender = set(world.ledger_ids(hooks.api)), world.node.call("eth_accounts")[0]
    for round in range(4):
        for _ in range(6):
            world.node.call("eth_sendTransaction", {"from": sender, "to": f"0x{rng.getrandbits(160):040x}", "value": hex(rng.getrandbits(40))})
            world.node.call("anvil_mine", "0x1")
        if round == 2:
            reorg(world, 3)
        world.suite.processes["gateway"].kill()
        world.suite.start(["gateway"])
    world.settle()
    for id in (entries, blocks):
        hooks.settle(id, 120)
    assert world.sql("select journal_sequence from weir.chains")[0][0] > newest
    held = receiver.held()
    assert set(held) == set(world.ledger_ids(hooks.api)) - known
    hashes = {d["hash"] for d in block_receiver.held().values()}
    assert hashes >= {b["hash"] for b in hooks.api.ok(f"{C}/blocks?limit=20")["items"]}
    world.others.pop().stop(20)
    stack.wait_until("the first gateway has both", 60, lambda: all(hooks.get(f"/{i}")["gateway"] for i in (entries, blocks)))


def test_a_failing_receiver_is_left_alone_and_found_well_again(world, hooks):
    well = []
    id, receiver = hooks.add(lambda message, n: 200 if well else 500, topic="blocks", from_height=0)
    stack.wait_until("the breaker opens", 60, lambda: hooks.state(id) == "failing")
    hook = hooks.get(f"/{id}")
    assert hook["failures"] >= 6 and hook["reason"] == "the receiver answered 500" and hook["probe_at"]
    stack.wait_until("the alert", 60, lambda: world.suite.metric("gateway", "weir_alerts_total", state="firing", runbook="webhooks") >= 1)
    first = receiver.tries[-1].id
    before = receiver.count[first]
    stack.wait_until("probes of the oldest message", 60, lambda: receiver.count[first] >= before + 2)
    assert set(receiver.count) == {first}, "and of no other"
    pending = hooks.deliveries(id, "&state=pending")
    assert min(d["id"] for d in pending if d["attempts"] > 0) == min(d["id"] for d in pending) and not hooks.deliveries(id, "&state=failed")
    well.append(True)
    hooks.settle(id)
    stack.wait_until("it is well again", 60, lambda: hooks.state(id) == "enabled")
    assert receiver.held()
    stack.wait_until("the alert's end", 60, lambda: world.suite.metric("gateway", "weir_alerts_total", state="resolved", runbook="webhooks") >= 1)


def test_who_enables_and_who_records_lock_in_one_order(world, hooks):
    """An operator enables while what became of a message is written down. They used to lock the endpoint and its deliveries in turn, so that each could have what the other waited
    for; PostgreSQL ended one of them, and the operator was told 503."""
    answered, statuses = threading.Event(), []
    id, receiver = hooks.add(lambda message, n: answered.wait(60) and 500 if n == 1 else 200, topic="chain_status")
    hooks.post(f"/{id}/test")
    stack.wait_until("the message under way", 60, lambda: receiver.tries)
    enabling = threading.Thread(target=lambda: statuses.append(hooks.api.operate("POST", f"{HOOKS}/{id}/enable", {})[0]))

    def waiting(*since):
        """Do so many of the gateway's connections wait for a lock, each for so many seconds at least?"""
        rows = world.sql("select extract(epoch from now() - query_start)::float from pg_stat_activity where wait_event_type = 'Lock'"
                         " and application_name = 'weir-gateway-webhooks' order by query_start")
        return len(rows) == len(since) and all(row[0] >= least for row, least in zip(rows, since))
    with psycopg2.connect(world.postgres.url) as holder:
        holder.cursor().execute("select from weir_webhooks.endpoints where id = %s for update", (id,))
        enabling.start()
        stack.wait_until("the operator waits for the endpoint", 60, lambda: waiting(0))
        answered.set()
        # longer than PostgreSQL takes to look for a deadlock that is none yet: then it is the operator's that it finds
        stack.wait_until("the recorder waits for it, too", 60, lambda: waiting(1.5, 1.5))
    holder.close()
    enabling.join(60)
    assert statuses == [200]
    stack.wait_until("the next try", 60, lambda: receiver.taken)


def test_the_schedule_ends_and_a_replay_begins_it_again(world, hooks):
    bad = set()
    id, receiver = hooks.add(lambda message, n: 500 if message.id in bad else 200, topic="chain_status")
    assert hooks.post(f"/{id}/test")["message"]
    tests = stack.wait_until("the test message", 60, lambda: [m for m in receiver.taken if m.type == "test"])
    assert [m.data for m in tests] == [{"type": "test", "endpoint": id}]
    hooks.post(f"/{id}/disable", {"why": "to prepare"})
    sent = hooks.post(f"/{id}/test")
    first = sent["message"]
    bad.add(first)

    def given_up():
        hooks.post(f"/{id}/enable") # an operator insists: the breaker is closed, the tries go on
        return hooks.get(f"/{id}/deliveries/{sent['delivery']}")["state"] == "failed"
    stack.wait_until("given up", 60, given_up)
    full = hooks.get(f"/{id}/deliveries/{sent['delivery']}")
    assert full["tries"] == 13 and full["attempts"] >= 13 and full["last_status"] == 500 and full["last_error"] == "the receiver answered 500"
    assert hooks.post(f"/{id}/replay", {"state": "failed", "dry_run": True}) == {"count": 1}
    bad.clear()
    assert hooks.post(f"/{id}/replay", {"state": "failed", "why": "mended"}) == {"count": 1}
    stack.wait_until("delivered", 60, lambda: hooks.get(f"/{id}/deliveries/{sent['delivery']}")["state"] == "delivered")
    assert [m.id for m in receiver.taken].count(first) == 1


def test_messages_are_sent_again_by_id_filter_and_height(world, hooks):
    id, receiver = hooks.add(topic="entries", account=busiest(world), from_height=0)
    hooks.settle(id)
    everything, held = len(receiver.unique()), receiver.held()
    items = hooks.deliveries(id)
    chosen, named = items[3], items[5]
    account = next(i["account"] for i in items if i["account"])
    made = sorted(i["created_at"] for i in items)[len(items) // 2]
    of_account = sum(1 for i in items if i["account"] == account)
    for body, count in (({"ids": [str(chosen["id"]), named["message"]]}, 2), ({"account": account}, of_account),
                        ({"from_sequence": chosen["sequence"], "to_sequence": chosen["sequence"]}, sum(1 for i in items if i["sequence"] == chosen["sequence"])),
                        ({"since": made}, sum(1 for i in items if i["created_at"] >= made)), ({"until": "2020-01-31T12:00:00Z"}, 0),
                        ({"since": made, "until": made}, sum(1 for i in items if i["created_at"] == made)),
                        ({"type": "retracted"}, sum(1 for i in items if i["type"] == "retracted")), ({"all": True}, everything)):
        assert hooks.post(f"/{id}/replay", dict(body, dry_run=True)) == {"count": count}, body
        before = len(receiver.taken)
        assert hooks.post(f"/{id}/replay", body) == {"count": count}
        stack.wait_until(f"{body}", 60, lambda b=before, c=count: len(receiver.taken) == b + c)
        stack.wait_until("written down", 60, lambda: hooks.get(f"/{id}")["pending"] == 0)
    assert len(receiver.unique()) == everything and receiver.held() == held, "the same ids"
    before = len(receiver.taken)
    hooks.post(f"/{id}/enable", {"from_height": 0})
    stack.wait_until("all of the journal once more", 60, lambda: len(receiver.taken) >= before + everything)
    assert receiver.held() == held
    for body in ({}, {"all": True, "type": "entry"}, {"state": "gone"}, {"since": "yesterday"}, {"all": True, "until": made}):
        assert hooks.api.operate("POST", f"{HOOKS}/{id}/replay", body)[0] == 400
    page = hooks.get(f"/{id}/deliveries?limit=5")
    rest = hooks.get(f"/{id}/deliveries?limit=5&cursor={page['next_cursor']}")
    assert [d["id"] for d in page["items"] + rest["items"]] == [d["id"] for d in hooks.deliveries(id)[:10]]


def test_secrets_rotate_and_are_told_once(world, hooks):
    id, receiver = hooks.add(topic="chain_status")
    old = receiver.secrets[0]

    def sent():
        before = len(receiver.taken)
        hooks.post(f"/{id}/test")
        return stack.wait_until("a test", 60, lambda: len(receiver.taken) > before and receiver.taken[-1])
    assert sent().signed_by(old)
    new = hooks.post(f"/{id}/rotate", {"overlap_seconds": 600})["secret"]
    message = stack.wait_until("both sign", 60, lambda: (m := sent()).signed_by(new) and m)
    assert message.signed_by(old) and len(message.signatures) == 2
    given = "whsec_" + base64.b64encode(b"k" * 40).decode()
    receiver.secrets += [new, given]
    assert hooks.post(f"/{id}/rotate", {"overlap_seconds": 0, "secret": given})["secret"] == given
    message = stack.wait_until("one signs", 60, lambda: len((m := sent()).signatures) == 1 and m)
    assert message.signed_by(given)
    public = hooks.post(f"/{id}/rotate", {"algorithm": "v1a", "why": "asymmetric"})["secret"]
    assert public.startswith("whpk_") and len(base64.b64decode(public[5:])) == 32
    stack.wait_until("v1a beside v1", 60, lambda: {s.split(",")[0] for s in sent().signatures} == {"v1", "v1a"})
    text = json.dumps([hooks.get(), hooks.get(f"/{id}"), hooks.deliveries(id), hooks.get(f"/{id}/deliveries/{hooks.deliveries(id)[0]['id']}"),
                       hooks.api.operate("GET", "/admin/v1/settings")[1], hooks.api.operate("GET", "/admin/v1/audit")[1]])
    log = world.suite.processes["gateway"].log.read_text()
    stored = json.dumps([[bytes(row[0]).hex()] for row in world.sql("select sealed from weir_webhooks.secrets")])
    for secret in (old, new, given, SETTINGS["encryption_key"], "token-in-path"):
        assert secret not in text and secret not in log
    for secret in (old, new, given):
        assert base64.b64decode(secret.removeprefix("whsec_")).hex() not in stored
    again = [hooks.api.operate("POST", f"{HOOKS}/{id}/rotate", {"overlap_seconds": 1}, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert again[0][0] == 200 and again[1][1]["code"] == "idempotency_not_kept", "not carried out again, and not told again"
    for body in ({"secret": "whsec_c2hvcnQ="}, {"algorithm": "v2"}, {"algorithm": "v1a", "secret": given}):
        assert hooks.api.operate("POST", f"{HOOKS}/{id}/rotate", body)[0] == 400


def test_weirctl_does_all_of_it(world, hooks):
    weirctl, receiver = Weirctl(world.suite), Receiver()
    added = weirctl.json("webhook", "add", receiver.url, "entries", "--account", busiest(world), "--from-height", "0")
    id = str(added["id"])
    hooks.made.append((id, receiver))
    receiver.secrets.append(added["secret"])
    hooks.settle(id)
    row = next(r for r in weirctl.table("webhook", "list") if r["ID"] == id)
    assert row["STATE"] == "enabled" and row["TOPIC"] == "entries" and "token" not in weirctl("webhook", "list")
    assert "secret" not in weirctl.json("webhook", "show", id)
    sent = weirctl.json("webhook", "test", id)
    stack.wait_until("the test", 60, lambda: any(m.type == "test" for m in receiver.taken))
    stack.wait_until("written down", 60, lambda: weirctl.json("webhook", "delivery", id, str(sent["delivery"]))["state"] == "delivered")
    newest = weirctl.table("webhook", "deliveries", id, "--state", "delivered", "--limit", "1")[0]
    assert (newest["ID"], newest["TYPE"], newest["STATUS"]) == (str(sent["delivery"]), "test", "200")
    assert weirctl.json("webhook", "replay", id, "--type", "test", "--dry-run") == {"count": 1}
    assert weirctl.json("webhook", "replay", id, str(sent["delivery"]), "--why", "again") == {"count": 1}
    stack.wait_until("twice", 60, lambda: sum(m.type == "test" for m in receiver.taken) == 2)
    assert weirctl.json("webhook", "rotate", id, "--overlap", "0")["secret"] != added["secret"]
    assert "--why" in weirctl.refused(64, "webhook", "disable", id)
    assert weirctl.json("webhook", "disable", id, "--why", "maintenance")["reason"] == "maintenance"
    assert weirctl.json("webhook", "enable", id)["state"] == "enabled"
    assert weirctl.json("webhook", "remove", id, "--why", "done") == {"count": 1}
    hooks.made.pop()
    receiver.faults = [f for f in receiver.faults if f != "signature"]
    receiver.close()
    weirctl.refused(66, "webhook", "show", id)


def test_answers_that_are_no_success(world, hooks):
    answers = {}
    id, receiver = hooks.add(lambda message, n: answers[message.id] if message.id in answers and n == 1 else 200, topic="chain_status")
    other = Receiver()
    large = b"x" * 3_000_000
    for answer, error, again in (((302, {"Location": other.url}, b""), "the receiver answered 302: redirects are not followed", True),
                                 ((503, {"Retry-After": "1"}, b"secret answer"), "the receiver answered 503", True),
                                 ((400, {}, large), "the receiver answered 400", True), ((200, {}, large), None, False), ((204, {}, b""), None, False)):
        answers.clear()
        hooks.api.operate("POST", f"{HOOKS}/{id}/disable", {"why": "to prepare"})
        sent = hooks.post(f"/{id}/test")
        answers[sent["message"]] = answer
        hooks.post(f"/{id}/enable")
        full = stack.wait_until(f"{answer[0]}", 60, lambda s=sent: (f := hooks.get(f"/{id}/deliveries/{s['delivery']}"))["state"] == "delivered" and f)
        history = full["history"][::-1]
        assert (history[0]["status"], history[0]["error"]) == (answer[0], error) and len(history) == (2 if again else 1)
        if "Retry-After" in answer[1]:
            at = [time.mktime(time.strptime(h["at"][:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + h["at"][19:-1]) for h in history]
            assert at[1] - at[0] >= 0.9
        assert "secret answer" not in json.dumps(full)
    assert not other.tries
    other.close()
    assert "secret answer" not in world.suite.processes["gateway"].log.read_text()


def test_a_receiver_that_is_gone_or_silent(world, hooks):
    id, receiver = hooks.add(lambda message, n: 410, topic="chain_status")
    hooks.post(f"/{id}/test")
    stack.wait_until("disabled", 60, lambda: hooks.state(id) == "disabled")
    assert hooks.get(f"/{id}")["reason"] == "the receiver answered 410: it wants no more"
    count = len(receiver.tries)
    hooks.post(f"/{id}/test")
    silent, _ = hooks.add(lambda message, n: time.sleep(20) or 200, topic="chain_status")
    sent = hooks.post(f"/{silent}/test")
    full = stack.wait_until("a try that took too long", 60, lambda: (f := hooks.get(f"/{silent}/deliveries/{sent['delivery']}"))["attempts"] > 0 and f)
    assert full["history"][-1]["status"] == 0 and "Timeout was reached" in full["history"][-1]["error"] or "timed out" in full["history"][-1]["error"]
    assert len(receiver.tries) == count, "nothing goes to a disabled endpoint"


def test_postgresql_may_restart(world, hooks):
    id, receiver = hooks.add(topic="chain_status")
    world.postgres.restart()

    def tried():
        return hooks.api.operate("POST", f"{HOOKS}/{id}/test", {})[0] == 200
    stack.wait_until("the store answers again", 60, tried)
    stack.wait_until("and so does what delivers", 60, lambda: any(m.type == "test" for m in receiver.taken))


def test_a_ledger_made_anew_is_noticed(world, hooks):
    """A position that lies in no journal of ours: what was to be delivered spoke of another ledger."""
    id, receiver = hooks.add(lambda message, n: 500, topic="blocks", from_height=0)
    stack.wait_until("messages", 60, lambda: hooks.get(f"/{id}")["pending"] > 0)
    hooks.post(f"/{id}/disable", {"why": "to prepare"})
    world.sql(f"update weir_webhooks.endpoints set position = '99999999' where id = {id}")
    hooks.post(f"/{id}/enable")
    stack.wait_until("it is disabled", 60, lambda: "made anew" in hooks.get(f"/{id}")["reason"])
    assert hooks.state(id) == "disabled" and hooks.deliveries(id) == []
    before = {m.id for m in receiver.tries}
    receiver.answer = lambda message, n: 200
    hooks.post(f"/{id}/enable", {"from_height": 0})
    hooks.settle(id)
    assert receiver.held() and not before & {m.id for m in receiver.taken}, "new messages have new ids"


def test_webhooks_go_nowhere_inside(world, hooks):
    """Registered by whom you like: each of these is refused, and the reason tells nothing that was read there."""
    port = str(world.suite.admin_port)
    for url, code in [("http://example.com/", "refused_address"), ("https://10.0.0.1/", "refused_address"), ("https://192.168.1.1/", "refused_address"),
                      ("https://169.254.169.254/latest/meta-data", "refused_address"), ("https://100.64.0.1/", "refused_address"), ("https://0.0.0.0/", "refused_address"),
                      ("https://[fd00::1]/", "refused_address"), ("https://[fe80::1]/", "refused_address"), ("https://[::ffff:127.0.0.1]/", "refused_address"),
                      ("https://[64:ff9b::7f00:1]/", "refused_address"), ("https://[2002:7f00:1::]/", "refused_address"), ("https://8.8.8.8:22/", "refused_address"),
                      ("https://3232235777/", "refused_address"), ("https://0xa000001/", "refused_address"), ("https://user@localhost/", "invalid_url"),
                      ("https://localhost/#x", "invalid_url"), ("ftp://localhost/", "invalid_url"), ("file:///etc/passwd", "invalid_url"),
                      ("gopher://localhost:" + port, "invalid_url"), ("https://localhost\\@8.8.8.8/", "invalid_url"), ("https://does-not-exist.invalid/", "refused_address")]:
        status, problem = hooks.api.operate("POST", HOOKS, {"url": url, "topic": "blocks"})
        assert (status, problem["code"]) == (400, code), (url, problem)
    strict = stack.Process("gateway4", [world.suite.bin / "weir-gateway", "--config", world.suite.config], world.folder / "gateway4.log", env={
        "WEIR_WEBHOOKS_ALLOW_LOOPBACK": "false", "WEIR_GATEWAY_LISTEN": "127.0.0.1:0", "WEIR_GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{(admin := stack.free_port())}",
        "WEIR_OPS_LISTEN_GATEWAY": "127.0.0.1:0"}).start()
    try:
        base = f"http://127.0.0.1:{admin}"
        head = {"Authorization": f"Bearer {stack.ADMIN_KEY}"}
        stack.wait_until("a strict gateway", 60, lambda: stack.http_json(base + HOOKS, headers=head)[0] == 200)
        for url in ("https://localhost/", "https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "http://localhost/", f"https://localhost:{port}/"):
            status, problem, _ = stack.http_json(base + HOOKS, "POST", {"url": url, "topic": "blocks"}, head)
            assert status == 400 and problem["code"] in ("refused_address", "invalid_url"), url
    finally:
        strict.stop()
        strict.check_sanitizers()
    assert stack.http_json(world.suite.api + HOOKS)[0] == 404, "not for clients"


def test_what_is_wrong_is_said(world, hooks):
    receiver = Receiver()
    good = {"url": receiver.url, "topic": "blocks"}
    for body, code in [({**good, "topic": "all"}, "invalid_body"), ({**good, "account": "0x" + "1" * 40}, "invalid_body"),
                       ({**good, "topic": "accounts"}, "invalid_body"), ({**good, "topic": "entries", "account": "x"}, "invalid_account"),
                       ({**good, "topic": "entries", "asset": "gold"}, "invalid_asset"),
                       ({**good, "topic": "entries", "kind": "gold"}, "invalid_kind"), ({**good, "kind": "fee"}, "invalid_body"), ({**good, "chain": "none"}, "chain_unknown"),
                       ({**good, "secret": "x"}, "invalid_body"), ({"topic": "blocks"}, "invalid_body"), ({"url": receiver.url}, "invalid_body")]:
        status, problem = hooks.api.operate("POST", HOOKS, body)
        assert status in (400, 404) and problem["code"] == code, (body, problem)
    for path in ("/0", "/999999", "/x", "/99999999999999999999", "/-1"):
        assert hooks.api.operate("GET", HOOKS + path)[0] == 404
        assert hooks.api.operate("POST", f"{HOOKS}{path}/test", {})[0] == 404
    id, _ = hooks.add(topic="blocks", receiver=receiver)
    assert hooks.api.operate("GET", f"{HOOKS}/{id}/deliveries/999999")[0] == 404
    for path, key, status in [("", VIEWER, 403), ("", OPERATOR, 403), (f"/{id}/remove", OPERATOR, 403), (f"/{id}/rotate", OPERATOR, 403), (f"/{id}/test", VIEWER, 403),
                              (f"/{id}/replay", VIEWER, 403), (f"/{id}/test", OPERATOR, 200)]:
        assert hooks.api.operate("POST", HOOKS + path, {**good, "why": "x"} if path == "" else {"why": "x"} if "re" in path else {}, key=key)[0] == status, path
    lines = hooks.api.operate("GET", "/admin/v1/audit?chain=dev&limit=50")[1]["items"]
    actions = {line["words"].get("action") for line in lines}
    assert {"webhook_add", "webhook_test"} <= actions


def test_settings_that_are_wrong_end_the_start(world, tmp_path):
    for name, value, words in (("ENCRYPTION_KEY", "c2hvcnQ=", "encryption_key"), ("PORTS", "http", "ports"), ("RETRY_SCHEDULE", "5", "retry_schedule"),
                               ("CA_FILE", "/nonexistent", "ca_file")):
        process = stack.Process("gateway5", [world.suite.bin / "weir-gateway", "--config", world.suite.config], tmp_path / "log", env={
            f"WEIR_WEBHOOKS_{name}": value, "WEIR_GATEWAY_LISTEN": "127.0.0.1:0", "WEIR_GATEWAY_ADMIN_LISTEN": "127.0.0.1:0", "WEIR_OPS_LISTEN_GATEWAY": "127.0.0.1:0"}).start()
        assert process.wait(60) == 78 and f"webhooks.{words}" in process.tail(40), process.tail(40)


def test_a_watch_list_is_delivered_as_the_topic_gives_it(hooks):
    world = hooks.world
    accounts = [row[0] for row in world.sql("select '0x' || encode(address, 'hex') from weir.accounts order by id limit 5")]

    def lists(path, body):
        status, answer, _ = stack.http_json(world.suite.api + "/v1/watchlists" + path, "POST", body, {"X-Api-Key": stack.ADMIN_KEY})
        assert status in (200, 201), answer
        return answer

    mine = lists("", {"chain": "dev", "name": "delivered"})["id"]
    lists(f"/{mine}/addresses", {"addresses": accounts, "always": True})
    for body, status, code in (({"topic": "watchlist"}, 400, "invalid_body"), ({"topic": "entries", "watchlist": mine}, 400, "invalid_body"),
                               ({"topic": "watchlist", "watchlist": "999999"}, 404, "watchlist_unknown")):
        got, problem = hooks.api.operate("POST", HOOKS, {"url": "http://127.0.0.1:1/", "chain": "dev", **body})
        assert (got, problem["code"]) == (status, code), problem
    id, receiver = hooks.add(topic="watchlist", watchlist=mine, from_height=0)
    assert hooks.get(f"/{id}")["watchlist"] == mine
    expected = {e for account in accounts for e in world.ledger_ids(hooks.api, account=account)}
    held = set()

    def delivered():
        held.clear()
        for message in list(receiver.taken):
            event = message.data
            held.update([event["id"]] if event["type"] == "entry" else [])
            held.difference_update(event.get("ids", []))
        return held == expected
    stack.wait_until("all of the list", 60, delivered)
