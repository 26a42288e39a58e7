"""What tests of deploy/ and docker/ share: where things are, and the tools that read them (tools/deps deploy unpacks those)."""
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "stack"))
import stack  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("DEPS", ROOT / "build" / "deps")) / "deploy" / "bin"
MONITORING = ROOT / "deploy" / "monitoring"
TO_BE_INSTALLED = "run tools/deps deploy"  # how each skip for want of a tool ends
RULES = sorted((MONITORING / "prometheus" / "rules").glob("*.yml"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """With CHECK_TOOLS=required (CI) a test that would be skipped for want of a tool fails: nobody reads the skips of a green run."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("CHECK_TOOLS") == "required" and TO_BE_INSTALLED in str(report.longrepr):
        report.outcome = "failed"


def tool(name):
    """Its path; the test is skipped where the tool could not be had (no network to Debian or npm)."""
    path = TOOLS / name
    if not path.exists():
        pytest.skip(f"{name} is not in {TOOLS}: {TO_BE_INSTALLED}")
    return path


def run(*command, **options):
    """Runs to the end; (exit status, everything it said)."""
    out = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=240, **options)
    return out.returncode, out.stdout


def rules(kind, paths=RULES):
    """Every alerting ("alert") or recording ("record") rule."""
    return [rule for path in paths for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if kind in rule]


def adapter_rule():
    """What Prometheus' adapter makes of our metrics, for an autoscaler: {"name", "series": what it looks for, "query": what it then asks for namespace weir}."""
    (rule,) = yaml.safe_load((MONITORING / "prometheus" / "adapter.yml").read_text())["rules"]["external"]
    query = rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].partition("{")[0]).replace("<<.LabelMatchers>>", 'namespace="weir"')
    return {"name": rule["name"]["as"], "series": rule["seriesQuery"], "query": query}


def level(api, node):
    """The gateway at this address shows the node's newest block as the ledger's."""
    _, body, _ = stack.http_json(f"{api}/v1/chains/dev")
    newest = node.call("eth_getBlockByNumber", "latest", False)
    watermark = (body or {}).get("watermark")  # none before the first block
    return bool(watermark) and watermark["height"] == int(newest["number"], 16) and watermark["hash"] == newest["hash"]


def pay(node):
    """Value from the node's first account to its second: both, and the block in which it moved."""
    payer, payee = node.call("eth_accounts")[:2]
    sent = node.call("eth_sendTransaction", {"from": payer, "to": payee, "value": hex(10**15 + 7)})
    node.call("anvil_mine", "0x1")
    return (payer, payee), int(node.call("eth_getTransactionReceipt", sent)["blockNumber"], 16)


def faultless(suite, node, accounts, height):
    """Through the API: no gap or incident that stays open (one that heals is let heal), and these accounts have what the node says; the reconciler has compared them at this height or later."""
    def native(account):
        page = suite.get(f"/v1/chains/dev/accounts/{account}/balances")[1]
        return next(row for row in page["items"] if row["asset"] == "native")

    for account in accounts:
        stack.wait_until(f"{account} compared with the chain", 60, lambda a=account: (native(a)["reconciled_at_height"] or -1) >= height)
        row = native(account)
        assert int(row["amount"]) == int(node.call("eth_getBalance", account, hex(row["height"])), 16)
    stack.wait_until("no gap and no incident left", 60, lambda: {suite.chain("dev")[what] for what in ("gaps", "incidents")} == {0})
