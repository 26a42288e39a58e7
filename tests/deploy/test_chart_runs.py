"""The chart's pods without Kubernetes: its own configuration files, secrets, variables and order, given to the real programs.

What a cluster would resolve is put in its place: secrets are files in a folder, the addresses of Redis and of nodes are private ones. Upgrades,
scaling and losses with traffic: test_rehearsal.py.
"""
import os
import pathlib
import subprocess

import pytest
import stack
import yaml
from chart import ENVIRONMENTS, component, named, of, template
from conftest import ROOT

BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
PASSWORD = "a-password-of-the-test"


class Pods:
    """Runs what a pod template says."""

    def __init__(self, objects, folder, redis, postgres, node):
        self.objects, self.folder, self.redis, self.postgres, self.node, self.count = objects, folder, redis, postgres, node, 0
        config = named(objects, "ConfigMap", "weir-config")["data"]["gateway.yaml"]
        user = "weir" if "username: weir" in config else "default"
        redis.command("ACL", "SETUSER", user, "on", "resetpass", ">" + PASSWORD, "~*", "&*", "+@all")

    def secret(self, name, key):
        if "postgresql" in name:
            return self.postgres.url.replace("user=weir ", "user=weir_gateway ") if key == "reader-url" else self.postgres.url
        if "redis" in name:
            return PASSWORD
        return self.node.rpc if "auth" not in key else "Bearer not-needed"

    def command(self, owner):
        """(command, environment) of the only container of a deployment's or job's pod."""
        pod = owner["spec"]["template"]["spec"]
        container = pod["containers"][0]
        self.count += 1
        root = self.folder / f"pod{self.count}"
        (root / "secrets").mkdir(parents=True)
        for volume in pod["volumes"]:
            for item in volume.get("configMap", {}).get("items", []):
                (root / item["path"]).write_text(named(self.objects, "ConfigMap", volume["configMap"]["name"])["data"][item["key"]])
            for source in volume.get("projected", {}).get("sources", []):
                for item in source["secret"]["items"]:
                    value = self.secret(source["secret"]["name"], item["key"])
                    (root / "secrets" / item["path"]).write_text(value if "key-" not in item["path"] else f"key-number-{item['path']}-0123456789")
        file = root / "weir.yaml"
        file.write_text(file.read_text().replace("file:/etc/weir", f"file:{root}"))
        environment = {"PATH": os.environ["PATH"]}
        for variable in container["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            environment[variable["name"]] = self.secret(reference["name"], reference["key"]) if reference else variable["value"].replace("/etc/weir", str(root))
        # What a cluster's DNS and the outside would answer; and only here does everything share one address.
        environment.update({"WEIR_BUS_REDIS_URL": self.redis.url, "WEIR_GATEWAY_LISTEN": "127.0.0.1:0", "WEIR_GATEWAY_ADMIN_LISTEN": "127.0.0.1:0"})
        if component(owner["spec"]["template"]["metadata"]["labels"]) in ("fetcher", "reconciler", "migrate"):
            for i, chain in enumerate(yaml.safe_load(file.read_text())["chains"]):
                environment.update({f"WEIR_CHAINS_{i}_CHAIN_ID": "31337", f"WEIR_CHAINS_{i}_PROFILE": "dev", f"WEIR_CHAINS_{i}_GENESIS_HASH": "", f"WEIR_CHAINS_{i}_START_HEIGHT": "0"})
                for j, endpoint in enumerate(chain["endpoints"]):
                    environment[f"WEIR_CHAINS_{i}_ENDPOINTS_{j}_URL"] = self.node.rpc
                    if "ws_url" in endpoint:
                        environment[f"WEIR_CHAINS_{i}_ENDPOINTS_{j}_WS_URL"] = self.node.ws
        program = BIN / container["image"].rsplit("/", 1)[-1].split(":")[0]
        return [program, *container.get("args", [])], environment

    def once(self, owner, *arguments):
        command, environment = self.command(owner)
        out = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60)
        return out.returncode, out.stderr


@pytest.fixture
def world(tmp_path):
    tmp_path.chmod(0o755)
    parts = []

    def make(environment, *values):
        parts.append(redis := stack.Redis(tmp_path / "redis").start())
        parts.append(postgres := stack.Postgres(tmp_path / "postgres").start())
        parts.append(node := stack.anvil(tmp_path / "anvil.log"))
        return Pods(template(environment, *values), tmp_path, redis, postgres, node)

    yield make
    for part in reversed(parts):
        part.stop()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_program_accepts_its_configuration(world, environment):
    """First the migration job, twice, as an upgrade does; then --check of each service with exactly what its pod would be given."""
    pods = world(environment)
    job = of(pods.objects, "Job")[0]
    for _ in range(2):
        status, said = pods.once(job)
        assert status == 0 and "schema_current" in said, said
    assert pods.postgres.query("select count(*) > 0 from information_schema.tables where table_schema = 'weir'") == [["t"]]
    pods.postgres.query("create role weir_gateway login; grant weir_reader to weir_gateway")
    deployments = of(pods.objects, "Deployment")
    assert {component(d["metadata"]["labels"]) for d in deployments} == set(stack.SERVICES)
    for deployment in deployments:
        status, said = pods.once(deployment, "--check")
        assert status == 0 and "check_passed" in said, (deployment["metadata"]["name"], said)


def test_a_wrong_setting_is_not_accepted(world):
    pods = world("dev")
    config = named(pods.objects, "ConfigMap", "weir-config")["data"]
    config["normalizer.yaml"] = config["normalizer.yaml"].replace("bus:\n", "bus:\n  retry_atempts: 3\n")
    status, said = pods.once(named(pods.objects, "Deployment", "weir-normalizer"), "--check")
    assert status == 78 and "retry_atempts" in said
