"""Every setting of the programs can be set with the chart and with compose: those of the table in docs/configuration.md, which is printed from the
programs' own, so that a new setting that cannot be reached is noticed.
"""
import json
import re

import pytest
import stack
import yaml
from chart import CHART, component, helm, of, template
from conftest import ROOT
from test_compose import FILE

# The chart's own, because its services, probes and policies are made for these addresses.
CHARTS_OWN = {"ops.listen.fetcher", "ops.listen.normalizer", "ops.listen.reconciler", "ops.listen.gateway", "gateway.listen", "gateway.admin_listen"}
BY_VALUES = {  # the chart's names for what other values decide, too
    "bus.redis_url": "redis.url", "bus.username": "redis.username", "bus.password": "redis.passwordFrom", "postgres.url": "postgresql.urlFrom",
    "postgres.reader_url": "postgresql.readerUrlFrom", "webhooks.encryption_key": "webhooksKeyFrom", "kafka.url": "kafka.url", "kafka.username": "kafka.username", "kafka.password": "kafka.passwordFrom", "alerts.webhook_url": "alertsWebhookFrom",
    "gateway.keys[].key": "keys", "gateway.keys[].name": "keys", "gateway.keys[].role": "keys",
    "chains[].endpoints[].auth_header": "chains[].endpoints[].auth_headerFrom"}


def table():
    rows = re.findall(r"(?m)^\| `([\w.\[\]]+)` \| ([^|]*) \| ([^|]*) \|", (ROOT / "docs" / "configuration.md").read_text())
    return {name: (kind.strip(), default.strip().strip("`")) for name, kind, default in rows}


def sample(kind, default):
    """The default as somebody would write it into a file of values."""
    return {"number": lambda: int(default), "ratio": lambda: float(default), "true/false": lambda: default == "true"}.get(kind, lambda: default)()


def nested(name, value):
    """{"a": {"b": value}} of a.b; x[] is a list of one."""
    for word in reversed(name.split(".")):
        value = {word.removesuffix("[]"): [value]} if word.endswith("[]") else {word: value}
    return value


def found(config, name):
    for word in name.split("."):
        config = config.get(word.removesuffix("[]"))
        if word.endswith("[]") and config:
            config = config[-1]
    return config


def test_the_table_is_read():
    kinds = {kind for kind, _ in table().values()}
    assert len(table()) > 90 and "secret" in kinds and {"gateway.session_secret", "chains[].window", "otel.endpoint"} <= set(table())


def test_every_setting_that_is_no_secret_is_a_value_of_the_chart(tmp_path):
    values, expected = {"config": {}, "chains": [{"name": "dev", "endpoints": [{"name": "a", "url": "http://a"}]}]}, {}
    for name, (kind, default) in table().items():
        if kind == "secret" or name in CHARTS_OWN or name in BY_VALUES:
            continue
        value = sample(kind, default)
        if name.startswith("chains[]"):
            place = values["chains"][0]["endpoints"][0] if "endpoints" in name else values["chains"][0]
            value = place.setdefault(name.rsplit(".", 1)[1], value)
        elif "[]" in name:
            values["config"].setdefault("alerts", {}).setdefault("destinations", [{}])[0].update({name.rsplit(".", 1)[1]: value})
        else:
            values["config"] = stack.merge(values["config"], nested(name, value))
        expected[name] = value
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    objects = template("dev", "-f", file)
    config = yaml.safe_load(next(o for o in of(objects, "ConfigMap") if o["metadata"]["name"] == "weir-config")["data"]["gateway.yaml"])
    missing = {name: (value, found(config, name)) for name, value in expected.items() if found(config, name) != value}
    assert not missing, missing
    assert len(expected) > 80


def test_every_secret_is_a_value_of_the_chart():
    """By secretSettings, as a file, to whom it is for and nobody else."""
    for name, (kind, _) in table().items():
        if kind != "secret" or name in BY_VALUES:
            continue
        setting, who = name.replace("[]", ".0"), "reconciler"
        flags = f"secretSettings[0].setting={setting},secretSettings[0].components={{{who}}},secretSettings[0].secret.name=s,secretSettings[0].secret.key=k"
        for deployment in of(template("dev", "--set", flags), "Deployment"):
            pod = deployment["spec"]["template"]["spec"]
            variable = "WEIR_" + re.sub(r"\W+", "_", setting).upper()
            given = {v["name"]: v.get("value") for v in pod["containers"][0]["env"]}
            path = f"setting-{setting.replace('.', '-')}"
            mounted = [item["path"] for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", []) for item in source["secret"]["items"]]
            mine = component(deployment["metadata"]["labels"]) == who
            assert (given.get(variable) == f"file:/etc/weir/secrets/{path}") == mine and (path in mounted) == mine, name


def test_a_file_for_a_setting_that_names_one():
    flags = ("secretSettings[0].setting=gateway.jwt.keys,secretSettings[0].components={gateway},secretSettings[0].path=true,"
             "secretSettings[0].secret.name=s,secretSettings[0].secret.key=k")
    gateway = next(d for d in of(template("dev", "--set", flags), "Deployment") if component(d["metadata"]["labels"]) == "gateway")
    assert {"name": "WEIR_GATEWAY_JWT_KEYS", "value": "/etc/weir/secrets/setting-gateway-jwt-keys"} in gateway["spec"]["template"]["spec"]["containers"][0]["env"]


@pytest.mark.parametrize("value", ["setting=Gateway.x", "components={redis}"])
def test_what_cannot_be_meant_is_refused(value):
    flags = "secretSettings[0].setting=gateway.x,secretSettings[0].components={gateway},secretSettings[0].secret.name=s,secretSettings[0].secret.key=k"
    status, said = helm("template", "weir", CHART, "-f", CHART / "values-dev.yaml", "--set", flags, "--set", f"secretSettings[0].{value}")
    assert status != 0 and "secretSettings" in said, said


def test_what_a_setting_reaches_outside_has_its_way_out():
    objects = template("dev", "--set", "config.otel.endpoint=http://collector:4318,networkPolicy.more[0].components={gateway},networkPolicy.more[0].ports={587},"
                                       "networkPolicy.more[0].to[0].ipBlock.cidr=10.9.0.0/16")
    for policy in of(objects, "NetworkPolicy"):
        who = policy["metadata"]["name"].removeprefix("weir-")
        ports = {port["port"] for rule in policy["spec"].get("egress", []) for port in rule.get("ports", [])}
        assert (4318 in ports) == (who in stack.SERVICES) and (587 in ports) == (who == "gateway"), who


def test_secrets_are_variables_of_compose(capsys):
    """What is no secret is written into weir.yaml, which all services mount; secrets come from .env, to whom they are for. One that is not known here
    can be written into weir.yaml, too; it is told."""
    services = yaml.safe_load(FILE.read_text().replace("<<: *weir", "weir: 1"))["services"]
    by_service = {name: services[name]["environment"] for name in stack.SERVICES}
    for environment in by_service.values():
        environment.update(environment.pop("<<", {}))
    in_file = []
    for name, (kind, _) in table().items():
        if kind != "secret":
            continue
        variable = "WEIR_" + re.sub(r"\W+", "_", name.replace("[]", ".0")).upper()
        holders = {service for service, environment in by_service.items() if variable in environment}
        if not holders:
            in_file.append(name)
            continue
        expected = {"gateway": {"gateway"}, "webhooks": {"gateway"}, "kafka": {"gateway"}, "chains": {"fetcher", "reconciler"}}.get(name.split(".")[0].removesuffix("[]"), set(stack.SERVICES))
        expected = {"postgres.url": {"reconciler"}, "postgres.reader_url": {"gateway"}}.get(name, expected)
        assert holders == expected, (name, variable, holders)
        assert all(str(by_service[service][variable]).count("${") == 1 for service in holders), name
    with capsys.disabled():
        print("\nsecrets that compose has no variable for:", ", ".join(in_file) or "none")
    assert len(in_file) < 5
