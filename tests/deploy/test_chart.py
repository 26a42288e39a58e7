"""The chart, for each of its three values files: rendered, checked against Kubernetes' schemas and against our rules."""
import copy
import json
import re
import shutil

import pytest
import yaml
from chart import ARROWS, CHART, ENVIRONMENTS, component, helm, named, of, pod_templates, schema_faults, selects, template
from conftest import MONITORING, ROOT, adapter_rule, rules, run

SERVICES = {"fetcher", "normalizer", "reconciler", "gateway"}
EVERYTHING = ["--set", "monitoring.serviceMonitor.enabled=true,monitoring.rules.enabled=true,monitoring.dashboards.enabled=true,ingress.enabled=true,"
              "ingress.host=x.example.com,normalizer.autoscaling.enabled=true,normalizer.autoscaling.busLag=500,gateway.autoscaling.enabled=true"]


@pytest.fixture(scope="module", params=[*ENVIRONMENTS, "everything"])
def objects(request):
    return template("dev", *EVERYTHING) if request.param == "everything" else template(request.param)


# ---- the chart itself --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", ENVIRONMENTS)
def test_lint(values):
    status, said = helm("lint", "--strict", CHART, "-f", CHART / f"values-{values}.yaml")
    assert status == 0, said


def test_it_packs_with_rules_and_dashboards_inside(tmp_path):
    status, said = helm("package", CHART, "-d", tmp_path)
    assert status == 0, said
    packed = template_of(tmp_path / "weir-0.1.0.tgz")
    assert len(of(packed, "PrometheusRule")) == 2
    assert len([o for o in of(packed, "ConfigMap") if "dashboard" in o["metadata"]["name"]]) == len(list((MONITORING / "dashboards").glob("*.json")))


def template_of(path):
    status, said = helm("template", "weir", path, "-f", CHART / "values-prod.yaml")
    assert status == 0, said
    return [o for o in yaml.safe_load_all(said) if o]


@pytest.mark.parametrize("values, says", [("dev", "for development only"), ("prod", "curl https://weir.example.com/v1/chains")])
def test_notes(tmp_path, values, says):
    """helm shows them only after an installation; as an object they are rendered like the rest."""
    copy = shutil.copytree(CHART, tmp_path / "chart")
    shutil.move(copy / "templates" / "NOTES.txt", copy / "NOTES.txt")
    (copy / "templates" / "notes.yaml").write_text('kind: Notes\nmetadata: {name: notes}\ntext: {{ tpl (.Files.Get "NOTES.txt") . | quote }}\n')
    status, said = helm("template", "weir", copy, "-n", "weir", "-f", copy / f"values-{values}.yaml", "-s", "templates/notes.yaml")
    assert status == 0 and says in yaml.safe_load(said)["text"], said


def test_the_chart_has_the_programs_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'WEIR_RELEASE "([^"]+)"', (ROOT / "lib" / "base" / "version.h").read_text()).group(1)
    assert chart["appVersion"] == version and chart["version"] == version


@pytest.mark.parametrize("setting, complaint", [
    ("image.tag=latest", "image.tag"), ("gateway.replica=3", "replica"), ("chains[0].chainid=3", "chainid"), ("config.gatway.pool=3", "gatway"),
    ("redis.bundled.enabled=false", "redis.url is needed"), ("postgresql.bundled.enabled=false", "postgresql.urlFrom is needed"),
    ("chains=null", "chains is empty"), ("fetcher.resources.limits=null", "limits"),
    ("normalizer.autoscaling.enabled=true,normalizer.keda.enabled=true", "exclude each other")])
def test_what_is_misspelt_or_missing_is_refused(setting, complaint):
    status, said = helm("template", "weir", CHART, "-f", CHART / "values-dev.yaml", "--set", setting)
    assert status != 0 and complaint in said, said


def test_keda_asks_for_the_lag_of_its_own_release():
    status, said = helm("template", "weir", CHART, "-n", "elsewhere", "-f", CHART / "values-prod.yaml", "-s", "templates/autoscaling.yaml")
    (scaled,) = [o for o in yaml.safe_load_all(said) if o and o["kind"] == "ScaledObject"]
    assert status == 0 and '{topic="raw",namespace="elsewhere"}' in scaled["spec"]["triggers"][0]["metadata"]["query"], said


def differences(values, part, schema, path=""):
    """Keys of defaults and schema, at any depth, that the other does not have. A default that is empty stands for the whole of its object."""
    part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    if not isinstance(values, dict) or not values or "properties" not in part:
        return []
    found = [f"{path}{key}: not in the {'schema' if key in values else 'values'}" for key in set(values) ^ set(part["properties"]) if path or key != "global"]
    found += [f"{path}: takes any key"] if part.get("additionalProperties") is not False else []
    return found + [more for key in set(values) & set(part["properties"]) for more in differences(values[key], part["properties"][key], schema, f"{path}{key}.")]


def test_every_value_is_in_the_schema():
    """values.yaml is valid without the schema's help to know it: no key of it may be unknown, and none of the schema without a default."""
    schema, values = json.loads((CHART / "values.schema.json").read_text()), yaml.safe_load((CHART / "values.yaml").read_text())
    assert not differences(values, schema, schema)
    del values["redis"]["bundled"]["resources"]["limits"]["cpu"]
    del schema["properties"]["normalizer"]["properties"]["keda"]["properties"]["busLag"]
    schema["properties"]["networkPolicy"]["properties"]["nodes"]["additionalProperties"] = True
    assert sorted(differences(values, schema, schema)) == ["networkPolicy.nodes.: takes any key", "normalizer.keda.busLag: not in the schema",
                                                           "redis.bundled.resources.limits.cpu: not in the values"]


def leaves(values, path=""):
    for key, value in values.items():
        yield from leaves(value, f"{path}{key}.") if isinstance(value, dict) and value else [path + key]


def test_the_readme_has_every_value_as_it_is(tmp_path):
    chart = tmp_path / "chart"
    chart.mkdir()
    for name in ("README.md", "values.yaml"):
        shutil.copy(CHART / name, chart)
    status, made = run(ROOT / "tools" / "gen-values", chart)
    assert status == 0 and made == (CHART / "README.md").read_text(), "stale: run make docs"
    named = set(re.findall(r"^\| `([^`]+)` \| `", made, re.M))
    missing = [leaf for leaf in leaves(yaml.safe_load((CHART / "values.yaml").read_text())) if not any(f"{leaf}.".startswith(f"{name}.") for name in named)]
    assert not missing
    (chart / "values.yaml").write_text("# Why <it> is,\n#   a: {b: 1}\n# and | how.\na:\n  b: 2   # `<b>`\n  c:\n    - d: [3]\n")
    status, made = run(ROOT / "tools" / "gen-values", chart)
    table = made.partition("|---|---|---|\n")[2].splitlines()[:3]
    assert table == ["| `a` |  | Why &lt;it> is,<br>`a: {b: 1}` and \\| how. |", "| `a.b` | `2` | `<b>` |", "| `a.c` | `[{d: [3]}]` |  |"]
    (chart / "README.md").write_text("nothing")
    assert run(ROOT / "tools" / "gen-values", chart)[0] == 1


# ---- schemas -----------------------------------------------------------------------------------------------------------------------------


def test_every_object_is_what_kubernetes_takes(objects):
    status, said = schema_faults(objects)
    assert status == 0, said


def test_the_schema_check_sees_faults():
    objects = template("prod")
    deployment, policy = of(objects, "Deployment")[0], of(objects, "NetworkPolicy")[1]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    policy["spec"]["egress"][0]["port"] = 1
    broken = copy.deepcopy(of(objects, "Job")[0])
    del broken["spec"]["template"]
    status, said = schema_faults([deployment, policy, broken])
    assert status == 1 and ".imagePulPolicy: no such field" in said and ".spec.egress.0.port: no such field" in said and "template" in said


def test_names_are_given_once_and_fit(objects):
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for _, name in names)
    for o in objects:
        for key, value in o["metadata"].get("labels", {}).items():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value), (key, value)


# ---- policy: pods ------------------------------------------------------------------------------------------------------------------------


def test_pods_are_restricted(objects):
    for owner, _, pod in pod_templates(objects):
        name = owner["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False, name
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers")), name
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0 and security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= {"configMap", "projected", "secret", "emptyDir"}, (name, volume)
        for container in pod["containers"]:
            c = container["securityContext"]
            assert c["allowPrivilegeEscalation"] is False and c["readOnlyRootFilesystem"] is True and c["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]) and {"memory"} <= set(container["resources"]["limits"]), name
            tag = container["image"].rsplit("/", 1)[-1].partition(":")[2]
            assert "@sha256:" in container["image"] or (tag and tag not in ("latest", "main", "edge")), container["image"]
            for variable in container.get("env", []):
                secretive = re.search(r"PASSWORD$|POSTGRES_URL|READER_URL|AUTH_HEADER|WEBHOOK", variable["name"])
                assert not secretive or variable.get("value", "file:").startswith("file:"), variable


def test_pods_have_an_account_of_their_own_without_a_token(objects):
    accounts = {account["metadata"]["name"]: account for account in of(objects, "ServiceAccount")}
    assert set(accounts) == {"weir", "weir-migrate"} and all(account["automountServiceAccountToken"] is False for account in accounts.values())
    assert not of(objects, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    for owner, labels, pod in pod_templates(objects):
        assert pod["serviceAccountName"] == ("weir-migrate" if component(labels) == "migrate" else "weir"), owner["metadata"]["name"]


@pytest.mark.parametrize("values, made, used, hooked", [
    ("name=mine,annotations.a=b", ["mine", "weir-migrate"], "mine", "weir-migrate"), ("create=false,name=theirs", [], "theirs", "theirs"), ("create=false", [], "default", "default")])
def test_accounts_are_those_of_the_values(values, made, used, hooked):
    objects = template("prod", "--set", ",".join(f"serviceAccount.{value}" for value in values.split(",")), "--set", "kafka.bundled.enabled=true")
    accounts = of(objects, "ServiceAccount")
    assert sorted(account["metadata"]["name"] for account in accounts) == made
    assert all(account["metadata"]["annotations"]["a"] == "b" for account in accounts)
    assert {pod["serviceAccountName"] for _, labels, pod in pod_templates(objects) if component(labels) != "migrate"} == {used}
    assert {pod["serviceAccountName"] for _, labels, pod in pod_templates(objects) if component(labels) == "migrate"} == {hooked}


def test_services_have_probes_budget_spread_and_time_to_drain(objects):
    budgets = of(objects, "PodDisruptionBudget")
    for deployment in of(objects, "Deployment"):
        labels, pod = deployment["spec"]["template"]["metadata"]["labels"], deployment["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert component(labels) in SERVICES
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz" and container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["startupProbe"]["httpGet"]["port"] == "ops"
        assert sum(selects(budget["spec"]["selector"], labels) for budget in budgets) == 1, labels
        assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets)
        assert {c["topologyKey"] for c in pod["topologySpreadConstraints"]} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(selects(c["labelSelector"], labels) for c in pod["topologySpreadConstraints"])
        apart = pod["affinity"]["podAntiAffinity"]
        assert set(apart) == {"preferredDuringSchedulingIgnoredDuringExecution"}, "on a single node all of them still run"
        (term,) = [preferred["podAffinityTerm"] for preferred in apart["preferredDuringSchedulingIgnoredDuringExecution"]]
        assert term == {"topologyKey": "kubernetes.io/hostname", "labelSelector": deployment["spec"]["selector"]}
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        slept = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod["terminationGracePeriodSeconds"] >= 30 + slept + 5
        assert (slept > 0) == (component(labels) == "gateway")


def test_a_given_affinity_replaces_the_charts():
    given = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}}}
    deployments = of(template("prod", "--set-json", f"affinity={json.dumps(given)}"), "Deployment")
    assert deployments and all(deployment["spec"]["template"]["spec"]["affinity"] == given for deployment in deployments)
    assert schema_faults(deployments)[0] == 0


def test_what_is_scaled_has_no_fixed_number(objects):
    scaled = {o["spec"]["scaleTargetRef"]["name"] for o in of(objects, "HorizontalPodAutoscaler", "ScaledObject")}
    for deployment in of(objects, "Deployment"):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in scaled)
    assert scaled <= {"weir-normalizer", "weir-gateway"}, "an owner cannot be multiplied"


def test_the_autoscaler_asks_for_what_the_adapter_makes():
    metrics = [metric["external"]["metric"] for o in of(template("dev", *EVERYTHING), "HorizontalPodAutoscaler") for metric in o["spec"]["metrics"] if metric["type"] == "External"]
    assert metrics == [{"name": adapter_rule()["name"]}]


def test_what_is_referred_to_is_there(objects):
    made = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    outside = {"weir-endpoints", "weir-keys", "weir-alerts", "weir-postgresql", "weir-redis"}  # existing secrets that the values files name
    for owner, _, pod in pod_templates(objects):
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
        claimed = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        assert mounted == claimed | {volume["name"] for volume in pod.get("volumes", [])}, owner["metadata"]["name"]
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                data = made[("ConfigMap", volume["configMap"]["name"])]["data"]
                assert all(item["key"] in data for item in volume["configMap"]["items"])
            for source in volume.get("projected", {}).get("sources", []):
                secret = made.get(("Secret", source["secret"]["name"]))
                assert secret or source["secret"]["name"] in outside
                assert not secret or all(item["key"] in secret["stringData"] for item in source["secret"]["items"])
    for service in of(objects, "Service"):
        targets = [pod for _, labels, pod in pod_templates(objects) if all(labels.get(k) == v for k, v in service["spec"]["selector"].items())]
        ports = {port["name"] for pod in targets for container in pod["containers"] for port in container.get("ports", [])}
        assert targets and all(port["targetPort"] in ports for port in service["spec"]["ports"]), service["metadata"]["name"]


def test_a_hook_needs_nothing_that_is_not_there_yet(objects):
    for job in of(objects, "Job"):
        hook = job["metadata"]["annotations"]["helm.sh/hook"]
        pod = job["spec"]["template"]["spec"]
        needed = [named(objects, "ConfigMap", volume["configMap"]["name"]) for volume in pod["volumes"] if "configMap" in volume]
        for other in [*needed, named(objects, "ServiceAccount", pod["serviceAccountName"])]:
            notes = other["metadata"]["annotations"]
            assert notes["helm.sh/hook"] == hook and int(notes["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])


def test_secrets_go_only_where_they_are_needed(objects):
    """The ledger's owner may only be the reconcilers; a fetcher holds no database's secret, a normalizer no node's."""
    for owner, labels, pod in pod_templates(objects):
        text, name = json.dumps(pod), component(labels)
        if name in ("fetcher", "normalizer", "test"):
            assert "postgres" not in text.lower(), owner["metadata"]["name"]
        if name in ("normalizer", "gateway", "test"):
            assert "ENDPOINTS" not in text and "auth-" not in text
        if name != "gateway":
            assert "weir-keys" not in text
    for config in of(objects, "ConfigMap"):
        for text in config["data"].values():
            assert "password:" not in text and "auth_header" not in text


# ---- policy: network ---------------------------------------------------------------------------------------------------------------------


def destination(rule, values):
    ports = {port["port"] for port in rule["ports"]}
    for name, where in (("dns", {53}), ("gateway", {8080}), ("redis", {6379}), ("postgresql", {5432})):
        if ports == where:
            return name
    assert ports == set(values["networkPolicy"]["nodes"]["ports"]), rule
    return "nodes"


def test_webhooks_bring_their_key_and_a_way_out():
    objects = template("dev", "--set", "webhooksKeyFrom.name=weir-webhooks,webhooksKeyFrom.key=key", "--set", "config.webhooks.timeout=5s")
    for owner, labels, pod in pod_templates(objects):
        text = yaml.safe_dump(pod)
        assert ("WEIR_WEBHOOKS_ENCRYPTION_KEY" in text and "weir-webhooks" in text) == (component(labels) == "gateway"), owner["metadata"]["name"]
    settings = [yaml.safe_load(text) for o in of(objects, "ConfigMap") for name, text in o["data"].items() if name == "gateway.yaml"]
    assert settings[0]["webhooks"] == {"timeout": "5s"}
    values = yaml.safe_load((CHART / "values-dev.yaml").read_text())
    policy = next(p["spec"] for p in of(objects, "NetworkPolicy") if p["metadata"]["name"].endswith("-gateway"))
    assert "nodes" in {destination(rule, values) for rule in policy["egress"]}


def settings_of(objects, name):
    return next(yaml.safe_load(text) for o in of(objects, "ConfigMap") for key, text in o["data"].items() if key == name)


def ways_out(objects, who):
    policy = next(p["spec"] for p in of(objects, "NetworkPolicy") if p["metadata"]["name"] == f"weir-{who}")
    return [(port["port"], json.dumps(rule["to"])) for rule in policy["egress"] for port in rule["ports"]]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nothing_goes_to_kafka_until_it_is_said(environment):
    objects = template(environment)
    assert "kafka" not in settings_of(objects, "gateway.yaml") and not any(component(labels) == "kafka" for _, labels, _ in pod_templates(objects))
    assert 9092 not in {port for port, _ in ways_out(objects, "gateway")}


def test_kafka_of_somebody_else():
    objects = template("prod", "--set", "kafka.url=kafkas://a:9093\\,b:9093,kafka.username=weir,kafka.passwordFrom.name=weir-kafka,kafka.passwordFrom.key=password,"
                                        "kafka.tls.secret=weir-kafka-tls,kafka.tls.clientCertificate=true,networkPolicy.kafka.ports={9093},config.kafka.start=now")
    files = "/etc/weir/secrets/kafka-"
    assert settings_of(objects, "gateway.yaml")["kafka"] == {"url": f"kafkas://a:9093,b:9093/?ca={files}ca.crt&cert={files}tls.crt&key={files}tls.key",
                                                             "username": "weir", "start": "now"}
    for owner, labels, pod in pod_templates(objects):
        mine, text = component(labels) == "gateway", yaml.safe_dump(pod)
        assert ("file:/etc/weir/secrets/kafka-password" in text and "weir-kafka-tls" in text) == mine == ("WEIR_KAFKA" in text), owner["metadata"]["name"]
    for who in SERVICES | {"migrate"}:
        assert (9093 in {port for port, _ in ways_out(objects, who)}) == (who == "gateway"), who
    status, said = schema_faults(objects)
    assert status == 0, said
    more = template("prod", "--set", "kafka.url=kafkas://a:9093/?sasl=PLAIN,kafka.tls.secret=s")
    assert settings_of(more, "gateway.yaml")["kafka"]["url"] == f"kafkas://a:9093/?sasl=PLAIN&ca={files}ca.crt"


def test_a_bundled_kafka_is_for_gateways_alone():
    objects = template("dev", "--set", "kafka.bundled.enabled=true,kafka.url=kafka://not.this:1,kafka.passwordFrom.name=n,kafka.passwordFrom.key=k")
    assert settings_of(objects, "gateway.yaml")["kafka"] == {"url": "kafka://weir-kafka:9092"}
    assert "WEIR_KAFKA" not in json.dumps(objects)
    broker, labels, pod = next(t for t in pod_templates(objects) if component(t[1]) == "kafka")
    assert broker["kind"] == "StatefulSet" and broker["spec"]["replicas"] == 1 and pod["securityContext"]["runAsUser"] == 1000
    policies = [p["spec"] for p in of(objects, "NetworkPolicy") if selects(p["spec"]["podSelector"], labels)]
    assert len(policies) == 2 and not any(p.get("egress") for p in policies), "it reaches nothing"
    readers = [(rule["ports"][0]["port"], who["podSelector"]["matchLabels"]["app.kubernetes.io/component"]) for p in policies for rule in p.get("ingress", []) for who in rule["from"]]
    assert readers == [(9092, "gateway")]
    assert any(port == 9092 and '"kafka"' in to for port, to in ways_out(objects, "gateway"))
    config = named(objects, "ConfigMap", "weir-kafka")["data"]
    assert "advertised.listeners=PLAINTEXT://weir-kafka:9092,LOCAL://localhost:9094" in config["server.properties"]
    chains = [c["name"] for c in settings_of(objects, "gateway.yaml")["chains"]]
    assert "for chain in " + " ".join(chains) in config["topics"] and '--topic "weir.$chain.ledger"' in config["topics"]
    for check in (test_pods_are_restricted, test_what_is_referred_to_is_there, test_names_are_given_once_and_fit, test_secrets_go_only_where_they_are_needed):
        check(objects)
    status, said = schema_faults(objects)
    assert status == 0, said
    assert helm("template", "weir", CHART, "-f", CHART / "values-dev.yaml", "--set", "kafka.bundled.image=docker.io/apache/kafka:latest")[0] != 0
    assert helm("template", "weir", CHART, "-f", CHART / "values-dev.yaml", "--set", "kafka.url=http://a")[0] != 0


def test_tls_of_both_listeners():
    objects = template("prod", "--set", "tls.secret=weir-front,adminTls.secret=weir-admin,adminTls.clientCa=true")
    for _, labels, pod in pod_templates(objects):
        given = {v["name"]: v.get("value") for v in pod["containers"][0].get("env", []) if "TLS" in v["name"]}
        files = {item["path"]: (source["secret"]["name"], item["key"]) for volume in pod.get("volumes", [])
                 for source in volume.get("projected", {}).get("sources", []) for item in source["secret"]["items"]}
        if component(labels) != "gateway":
            assert not given and not {"weir-front", "weir-admin"} & {name for name, _ in files.values()}
            continue
        assert given == {f"WEIR_GATEWAY_{which}TLS_{what}": f"/etc/weir/secrets/{path}" for which, what, path in (
            ("", "CERTIFICATE", "tls.crt"), ("", "KEY", "tls.key"), ("ADMIN_", "CERTIFICATE", "admin-tls.crt"), ("ADMIN_", "KEY", "admin-tls.key"),
            ("ADMIN_", "CLIENT_CA", "admin-ca.crt"))}
        assert files["tls.key"] == ("weir-front", "tls.key") and files["admin-ca.crt"] == ("weir-admin", "ca.crt")
        assert not any("subPath" in mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "secrets"), "a renewed secret must show"
    notes = of(objects, "Ingress")[0]["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS" and len(notes) == 4
    status, said = schema_faults(objects)
    assert status == 0, said


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_exactly_the_arrows_of_the_design_are_open(environment):
    objects = template(environment)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    mine = yaml.safe_load((CHART / f"values-{environment}.yaml").read_text())
    values["networkPolicy"] = {**values["networkPolicy"], **mine.get("networkPolicy", {})}
    policies = of(objects, "NetworkPolicy")
    assert all(set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"} for policy in policies)
    webhook = bool(mine.get("alertsWebhookFrom"))
    for owner, labels, _ in pod_templates(objects):
        mine = [p["spec"] for p in policies if selects(p["spec"]["podSelector"], labels)]
        assert len(mine) == 2, (owner["metadata"]["name"], "the denial of all, and its own")
        name = component(labels)
        rules_out = [rule for spec in mine for rule in spec.get("egress", [])]
        assert all(rule.get("to") and rule.get("ports") for rule in rules_out), "nothing is open to everybody"
        expected = ARROWS[name] | ({"nodes"} if webhook and name in SERVICES else set())
        assert {destination(rule, values) for rule in rules_out} == expected, name
        rules_in = [rule for spec in mine for rule in spec.get("ingress", [])]
        assert all(rule.get("from") and rule.get("ports") for rule in rules_in)
        allowed = {port["port"] for rule in rules_in for port in rule["ports"]}
        assert allowed <= {"fetcher": {9101}, "normalizer": {9102}, "reconciler": {9103}, "gateway": {9104, 8080, 8081}, "redis": {6379},
                           "postgresql": {5432}}.get(name, set()), name
        if name in ("redis", "postgresql"):
            readers = {who["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for rule in rules_in for who in rule["from"]}
            assert readers == {other for other, arrows in ARROWS.items() if name in arrows}


# ---- monitoring, ingress -------------------------------------------------------------------------------------------------------------------


def test_rules_and_dashboards_are_those_of_the_repository():
    objects = template("prod")
    shipped = [rule for o in of(objects, "PrometheusRule") for group in o["spec"]["groups"] for rule in group["rules"]]
    assert len(shipped) == len(rules("alert")) + len(rules("record"))
    assert {r["alert"] for r in shipped if "alert" in r} == {r["alert"] for r in rules("alert")}
    assert all(r["annotations"]["runbook"].startswith("https://wiki.example.com/") for r in shipped if "alert" in r)
    assert {r["expr"] for r in shipped} == {r["expr"] for r in rules("alert") + rules("record")}
    for config in of(objects, "ConfigMap"):
        if config["metadata"]["labels"].get("grafana_dashboard"):
            (name, text), = config["data"].items()
            assert json.loads(text) == json.loads((MONITORING / "dashboards" / name).read_text())
    monitor = of(objects, "ServiceMonitor")[0]["spec"]
    ops = named(objects, "Service", "weir-ops")
    assert selects(monitor["selector"], ops["metadata"]["labels"]) and monitor["endpoints"][0]["port"] == ops["spec"]["ports"][0]["name"]
    assert {"targetLabel": "app", "replacement": "weir"} in monitor["endpoints"][0]["relabelings"]


def test_ingress_keeps_websockets_and_has_tls():
    ingress = of(template("prod"), "Ingress")[0]
    assert int(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 3600
    assert ingress["spec"]["tls"] == [{"hosts": ["weir.example.com"], "secretName": "weir-tls"}]
    assert not of(template("dev"), "Ingress")


def test_a_changed_setting_restarts_whom_it_concerns():
    before, after = template("prod"), template("prod", "--set", "chains[1].poll_interval=2s")
    sums = [{o["metadata"]["name"]: o["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for o in of(objects, "Deployment")}
            for objects in (before, after)]
    changed = {name for name in sums[0] if sums[0][name] != sums[1][name]}
    assert changed == {"weir-fetcher-hoodi", "weir-reconciler-hoodi", "weir-normalizer", "weir-gateway"}
