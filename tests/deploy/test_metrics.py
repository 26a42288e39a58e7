"""What rules and dashboards name exists: in the programs' own table of metrics, and, for gauges, in /metrics of a running suite."""
import base64
import json
import re

import pytest
import stack
from conftest import MONITORING, ROOT, RULES, adapter_rule, level, rules, run, tool

DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\bweir_[a-z0-9_]+")
MATCHER = re.compile(r"\b(weir_[a-z0-9_]+)\{([^}]*)\}")
GIVEN = {"instance", "job", "app", "le", "namespace"}  # by Prometheus and by its configuration


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
    (query,) = re.findall(r"^ *query: (.+)$", text, re.M)
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


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Names in /metrics of each of the four services, running on a chain with a few blocks."""
    folder = tmp_path_factory.mktemp("metrics")
    folder.chmod(0o755)
    parts = []
    try:
        parts.append(redis := stack.Redis(folder / "redis").start())
        parts.append(postgres := stack.Postgres(folder / "postgres").start())
        parts.append(node := stack.anvil(folder / "anvil.log"))
        webhooks = {"webhooks": {"encryption_key": base64.b64encode(bytes(32)).decode()}}
        parts.append(suite := stack.Suite(folder / "suite", redis.url, postgres.url, [stack.dev_chain(node)], webhooks).start())
        node.call("anvil_mine", "0x5")
        stack.wait_until("the ledger at the head", 30, lambda: level(suite.api, node))
        stack.wait_until("the gateway's look at the bus", 15, lambda: suite.metric("gateway", "weir_gateway_bus_up") == 1)
        yield {name for service in stack.SERVICES for line in suite.metrics(service) for name in NAME.findall(line)[:1]}
    finally:
        for part in reversed(parts):
            part.stop()


def test_a_running_suite_has_every_gauge_that_is_named(series):
    known = table()
    late = {"weir_fetcher_fork_depth", "weir_gateway_tls_certificate_end_seconds"} | {name for name in known if name.startswith("weir_kafka_")}  # with a fork, TLS, Kafka
    gauges = {name for name in named() if known[name][0] == "gauge"} - late
    assert not gauges - series, f"in no /metrics: {sorted(gauges - series)}"
    assert not {base(name, known) for name in series} - set(known), "a metric that the manual does not list"


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
        {"interval": "1m", "input_series": [*lags, lag("one", "live", "z", 9000, namespace="other")], "promql_expr_test": [adapter]}]}))
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
