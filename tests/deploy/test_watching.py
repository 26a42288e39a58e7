"""Prometheus with our rules beside a running suite: a healthy one raises no alert, and one that loses a part is noticed."""
import json
import urllib.parse

import pytest
import stack
import yaml
from conftest import MONITORING, RULES, tool


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watching")
    folder.chmod(0o755)
    parts = []
    prometheus = tool("prometheus")

    class World:
        def ask(self, query):
            status, body, _ = stack.http_json(f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": query}))
            if status != 200:  # it reads its files yet
                raise ValueError(f"Prometheus answers {status}")
            return body["data"]["result"]

        def alerts(self):
            return {(a["metric"]["alertname"], a["metric"]["alertstate"]) for a in self.ask("ALERTS")}

    try:
        world = World()
        parts.append(redis := stack.Redis(folder / "redis").start())
        parts.append(postgres := stack.Postgres(folder / "postgres").start())
        parts.append(node := stack.anvil(folder / "anvil.log"))
        node.call("evm_setIntervalMining", 1)
        parts.append(suite := stack.Suite(folder / "suite", redis.url, postgres.url, [stack.dev_chain(node)]).start())
        world.node, world.suite, world.port = node, suite, stack.free_port()
        config = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(path) for path in RULES]
        del config["alerting"]
        job = config["scrape_configs"][0]
        job.pop("dns_sd_configs")
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in suite.ops.values()]}]
        (folder / "prometheus.json").write_text(json.dumps(config))
        parts.append(stack.Process("prometheus", [prometheus, f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/tsdb",
                                                  f"--web.listen-address=127.0.0.1:{world.port}", "--log.level=warn"], folder / "prometheus.log").start())
        stack.wait_until("a scrape of all four", 30, lambda: len(world.ask('up{app="weir"} == 1')) == 4)
        yield world
    finally:
        for part in reversed(parts):
            part.stop()


def during(world, blocks):
    """Every alert, pending or firing, that is seen while the chain, which makes a block a second, grows by so many."""
    seen, until = set(), world.node.height() + blocks

    def grown():
        seen.update(world.alerts())
        return world.node.height() >= until

    stack.wait_until(f"{blocks} blocks", 10 + 3 * blocks, grown, 0.5)
    return seen


def test_a_healthy_suite_raises_no_alert(world):
    stack.wait_until("the head was seen to move", 30, lambda: any(float(r["value"][1]) > 0 for r in world.ask("changes(weir_fetcher_head_height[15m])")))
    stack.wait_until("what was pending at the start has passed", 30, lambda: not world.alerts())
    assert not during(world, 6)


def test_every_objective_is_measured(world):
    stack.wait_until("each objective's ratio", 20, lambda: {"tip_lag", "bus_lag"} <= {r["metric"]["slo"] for r in world.ask("weir:slo_error_ratio:5m")})
    assert len(world.ask("weir:slo_budget")) == 7
    ratios = {r["metric"]["slo"]: float(r["value"][1]) for r in world.ask("weir:slo_error_ratio:5m")}
    assert all(value == 0 for slo, value in ratios.items() if slo in ("tip_lag", "bus_lag", "api_errors", "dead_letters", "verified")), ratios


def test_the_loss_of_a_process_is_noticed(world):
    world.suite.processes["normalizer"].kill()
    stack.wait_until("WeirTargetDown", 20, lambda: ("WeirTargetDown", "pending") in world.alerts())
    world.suite.start(("normalizer",))
    stack.wait_until("no WeirTargetDown", 20, lambda: "WeirTargetDown" not in {name for name, _ in world.alerts()})
