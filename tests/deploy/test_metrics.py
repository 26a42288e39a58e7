"""What rules and dashboards name exists: in the programs' own table of metrics, and in /metrics of a running suite."""
import base64
import collections
import contextlib
import functools
import json
import re
import ssl
import sys
import urllib.request

import pytest
import redis as redis_client
import stack
from conftest import MONITORING, ROOT, RULES, adapter_rule, level, rules, run, tool

sys.path.insert(0, str(ROOT / "tests" / "service"))
import wire  # noqa: E402
from gateway_client import Stream, websocket  # noqa: E402
from webhook_receiver import Receiver, make_ca  # noqa: E402

# Counters come into /metrics with their first count. These need what does not happen to the suite here ...
NOT_HERE = {
    "weir_bus_breaker_state": "a subscription with handlers: weir's services read their lanes themselves, programs on its library have them",
    "weir_bus_full_total": "a stream as long as it may be, or a Redis without memory",
    "weir_bus_handler_seconds": "the same",
    "weir_bus_paused_total": "a PostgreSQL that is away",
    "weir_normalizer_checks_failed_total": "an endpoint that lies",
}
# ... and these may or may not: with the connections to Redis cut, on a busy machine.
BY_CHANCE = {
    "weir_bus_duplicates_skipped_total": "a connection cut between Redis' answer and its reader",
    "weir_bus_fenced_total": "an owner that was slower than its lease",
    "weir_bus_not_ours_total": "a message held for longer than its lease",
    "weir_bus_recovered_total": "a message that failed and then did not",
    "weir_bus_retried_total": "a failure that passes",
    "weir_bus_taken_over_total": "a message held for longer than its lease",
    "weir_fetcher_job_failures_total": "an endpoint chosen that is away",
    "weir_reconciler_balances_skipped_total": "a balance compared while a reorg takes its block away",
}
LATE = NOT_HERE | BY_CHANCE
# What a rule watches for its first count must be there before it: increase() of a series that begins with 1 is 0.
FROM_ZERO = {
    'weir_alert_posts_total{result="failed"}': stack.SERVICES,
    'weir_alert_posts_total{result="dropped"}': stack.SERVICES,
    'weir_fetcher_forks_total{chain="dev"}': ("fetcher",),
    'weir_bus_gaps_total{chain="dev",topic="raw"}': ("fetcher",),
    'weir_bus_gaps_total{chain="dev",topic="blocks"}': ("fetcher",),
    'weir_bus_gaps_total{chain="dev",topic="ledger"}': ("reconciler",),
    'weir_bus_loss_suspected_total{chain="dev",topic="blocks",subscription="reconciler"}': ("reconciler",),
    'weir_bus_loss_suspected_total{chain="dev",topic="control",subscription="fetcher"}': ("fetcher",),
}
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\bweir_[a-z0-9_]+")
MATCHER = re.compile(r"\b(weir_[a-z0-9_]+)\{([^}]*)\}")
GIVEN = {"instance", "job", "app", "le", "namespace"}  # by Prometheus and by its configuration


@functools.cache
def table():
    """{name: (kind, labels)} of docs/metrics.md, which lint compares with the programs."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", (ROOT / "docs" / "metrics.md").read_text(), re.M)
    known = {name: (kind, {label.strip() for label in labels.split(",") if label.strip()}) for name, kind, labels in rows}
    known["weir_metrics_series_dropped_total"] = ("counter", set())  # the registry's own
    return known


def base(name, known):
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and known.get(name[: -len(suffix)], ("",))[0] == "histogram":
            return name[: -len(suffix)]
    return name


def scaling():
    """(where, expression) of what autoscalers ask: the chart's by KEDA, and Prometheus' adapter."""
    text = (ROOT / "deploy" / "helm" / "weir" / "templates" / "autoscaling.yaml").read_text()
    (query,) = re.findall(r"^ *query: (.+)$", text.replace("{{ .Release.Namespace }}", "weir"), re.M)
    return [("autoscaling.yaml: KEDA", query), ("adapter.yml: series", adapter_rule()["series"]), ("adapter.yml: query", adapter_rule()["query"])]


def expressions():
    """(where, expression) of everything that Prometheus is asked."""
    yield from scaling()
    for rule in rules("alert") + rules("record"):
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            yield f"{path.name}: ${variable['name']}", str(variable.get("query", ""))


@functools.cache
def named():
    known = table()
    return {base(name, known) for _, expression in expressions() for name in NAME.findall(expression)}


def test_every_metric_and_label_that_is_named_is_one_of_ours():
    known, wrong = table(), []
    for where, expression in expressions():
        wrong += [f"{where}: no metric is called {name}" for name in NAME.findall(expression) if base(name, known) not in known]
        for name, matchers in MATCHER.findall(expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers)))
            wrong += [f"{where}: {name} has no label {label}" for label in labels - GIVEN - known.get(base(name, known), ("", labels))[1]]
    assert not wrong, "\n".join(wrong)
    assert RULES and DASHBOARDS


def test_recorded_series_that_are_named_are_recorded():
    recorded = {rule["record"] for rule in rules("record")}
    for where, expression in expressions():
        for name in re.findall(r"\bweir:[\w:]+", expression):
            assert name in recorded, f"{where} asks for {name}, which no rule records"


def test_what_nobody_looks_at_is_told(capsys):
    """Not a fault: said in the log, so that a new metric finds its place on a dashboard."""
    known = table()
    with capsys.disabled():
        print("\nmetrics in no rule and on no dashboard:", ", ".join(sorted(set(known) - named())) or "none")
    assert named() <= set(known)


def everything(certificate):
    """Settings with all on that makes metrics. What is at `nobody` is away: its metrics are there all the same."""
    nobody = f"127.0.0.1:{stack.free_port()}"
    return {
        "alerts": {"webhook_url": f"http://{nobody}/", "group_wait": "0s"},
        "otel": {"endpoint": f"http://{nobody}"},
        "kafka": {"url": f"kafka://{nobody}"},
        "webhooks": {"encryption_key": base64.b64encode(bytes(32)).decode(), "allow_loopback": True},
        "gateway": {"address_limit": 20, "connections_per_address": 1, "trusted_proxies": "127.0.0.0/8", "admin_tls": {"certificate": certificate, "key": certificate},
                    "jwt": {"issuer": "https://issuer.example", "keys": f"http://{nobody}/keys"}},
    }


def a_little_of_everything(suite, redis, node, receiver, ca):
    """Blocks with transactions, a reorg, requests wrong and too many, a subscription (returned) and one too many, a webhook whose receiver is gone for
    good, a dead letter tried again, connections to Redis cut."""
    def operate(path, body=None):
        request = urllib.request.Request(f"https://127.0.0.1:{suite.admin_port}/admin/v1/{path}", body and json.dumps(body).encode(),
                                         {"Content-Type": "application/json", "Authorization": f"Bearer {stack.ADMIN_KEY}"})
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=ca)) as answer:
            return json.loads(answer.read())

    receiver.secrets.append(operate("webhooks", {"url": receiver.url, "chain": "dev", "topic": "blocks", "from_height": 0})["secret"])
    subscriber = Stream(suite.api, header=["X-Forwarded-For: 192.0.2.2"])
    subscriber.subscribe(chain="dev", topic="blocks", **{"from": {"height": 0}})
    with contextlib.closing(Stream(suite.api, header=["X-Forwarded-For: 192.0.2.2"])) as second, pytest.raises(websocket.WebSocketConnectionClosedException):
        second.receive()
    payer, payee = node.call("eth_accounts")[:2]
    for _ in range(4):
        node.call("eth_sendTransaction", {"from": payer, "to": payee, "value": "0x1"})
        node.call("anvil_mine", "0x1")
        stack.wait_until("the ledger at the head", 60, lambda: level(suite.api, node))
    node.call("anvil_reorg", 2, [])
    node.call("anvil_mine", "0x2")
    stack.wait_until("the reorg in the ledger", 60, lambda: level(suite.api, node))
    with redis_client.Redis(unix_socket_path=str(redis.socket)) as client:
        sequence = client.hincrby("weir:{dev}:raw:meta", "hw:low", 1)
        client.xadd("weir:{dev}:raw:low", {"d": wire.framed(2, wire.encode([(1, "elsewhere"), (2, 7)]), b"k")}, id=f"{int(client.hget('weir:{dev}:raw:meta', 'gen'))}-{sequence}")
    letter = stack.wait_until("a dead letter", 60, lambda: operate("dlq")["items"])[0]
    operate("dlq/replay", {"subscription": "normalizer", "ids": [letter["id"]]})
    assert suite.get("/v1/nothing")[0] == 404
    client = {"X-Forwarded-For": "192.0.2.1"}
    stack.wait_until("a request too many", 60, lambda: stack.http_json(f"{suite.api}/v1/chains/dev/blocks?limit=2", headers=client)[0] == 429, every=0)
    redis.command("CLIENT", "KILL", "TYPE", "normal")
    return subscriber


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """What /metrics of each of the four services say after a little of everything, {name: [values]}; and which of FROM_ZERO are not there before."""
    folder = tmp_path_factory.mktemp("metrics")
    folder.chmod(0o755)
    ca, certificate = make_ca(folder)
    with contextlib.ExitStack() as parts:
        def running(part):
            parts.callback(part.stop)
            return part.start()
        redis, postgres = running(stack.Redis(folder / "redis")), running(stack.Postgres(folder / "postgres"))
        node, receiver = running(stack.Node("anvil", (), folder / "anvil.log")), Receiver(answer=lambda message, n: 410)
        parts.callback(receiver.close)
        chain = stack.dev_chain(node, endpoints=[{"name": "a", "url": node.rpc, "ws_url": node.ws}, {"name": "away", "url": f"http://127.0.0.1:{stack.free_port()}"}])
        suite = running(stack.Suite(folder / "suite", redis.url, postgres.url, [chain], everything(certificate)))

        def unborn():
            return {name: service for name, services in FROM_ZERO.items() for service in services if name not in suite.metrics(service)}

        with contextlib.suppress(TimeoutError):
            stack.wait_until("counters before their first count", 30, lambda: not unborn())
        missing = unborn()
        subscriber = a_little_of_everything(suite, redis, node, receiver, ca)
        parts.callback(subscriber.close)

        def seen():
            values = collections.defaultdict(list)
            for service in stack.SERVICES:
                for line, value in suite.metrics(service).items():
                    values[base(re.split(r"[{ ]", line)[0], known)].append(value)
            return values

        known, asked, found = table(), named() - set(LATE), {}
        with contextlib.suppress(TimeoutError): # what is missing then, the test says
            stack.wait_until("every metric", 30, lambda: found.update(seen()) or asked <= set(found))
        yield found, missing


def test_counters_that_rules_watch_begin_with_0(series):
    _, missing = series
    assert not missing, f"not there when the suite had just started: {missing}"


def test_a_running_suite_has_every_metric_that_is_named(series):
    series, _ = series
    assert not (missing := named() - set(LATE) - set(series)), f"in no /metrics: {sorted(missing)}"
    assert not (there := set(NOT_HERE) & set(series)), f"they do come: take them out of NOT_HERE: {sorted(there)}"
    assert not (there := {name for name in BY_CHANCE if 0 in series.get(name, ())}), f"they are there before their first count: take them out of BY_CHANCE: {sorted(there)}"
    assert not (spare := set(LATE) - named()), f"no rule and no dashboard names them: {sorted(spare)}"
    assert not (unknown := set(series) - set(table())), f"not in the manual: {sorted(unknown)}"


def test_prometheus_understands_every_expression_of_the_dashboards_and_autoscalers(tmp_path):
    asked = [expression.replace("$chain", ".*") for where, expression in expressions() if ":" in where and "$datasource" not in where and not where.startswith("weir:")]
    asked = [expression for expression in asked if not expression.startswith("label_values") and expression != "prometheus"]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"record": f"r{i}", "expr": e} for i, e in enumerate(asked)]}]}))
    status, said = run(tool("promtool"), "check", "rules", file)
    assert status == 0 and len(asked) > 60, said


def test_autoscalers_count_a_lag_once_however_many_gateways_tell_it(tmp_path):
    def lag(chain, kind, gateway, value, namespace="weir", topic="raw"):
        return {"series": f'weir_gateway_stream_lag{{chain="{chain}",class="{kind}",topic="{topic}",instance="{gateway}",namespace="{namespace}"}}', "values": str(value)}

    lags = [lag(chain, kind, gateway, value) for gateway in "abc" for chain, kind, value in (("one", "live", 10), ("one", "backfill", 500), ("two", "live", 7))]
    lags += [lag("one", "live", "a", 10000, topic="blocks")]
    keda, adapter = [{"expr": query, "eval_time": "0m", "exp_samples": [{"labels": "{}", "value": 517}]} for where, query in scaling() if "series" not in where]
    file = tmp_path / "lag.yml"
    file.write_text(json.dumps({"rule_files": [], "tests": [
        {"interval": "1m", "input_series": lags, "promql_expr_test": [keda, adapter]},
        {"interval": "1m", "input_series": [*lags, lag("one", "live", "z", 9000, namespace="other")], "promql_expr_test": [keda, adapter]}]}))
    status, said = run(tool("promtool"), "test", "rules", file)
    assert status == 0, said


def test_dashboards_are_complete():
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert board["uid"] == path.stem and board["description"] and "id" not in board, path.name
        places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
        assert len(set(places)) == len(places), path.name
        for panel in board["panels"]:
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
            if panel["type"] not in ("row", "text"):
                assert panel["targets"] and panel["datasource"]["uid"] == "${datasource}", panel["title"]
