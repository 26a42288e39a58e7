"""deploy/compose: valid for every profile, as closed as the chart, and its configuration accepted by the programs; nginx carries WebSockets."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import stack
import websocket
import yaml
from conftest import ROOT, run, tool
from chart import ARROWS

COMPOSE = ROOT / "deploy" / "compose"
FILE = COMPOSE / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
SECRET = "a-long-random-text-of-the-test"
PROFILES = {"core": {"redis", "postgres", "anvil", "reconciler", "normalizer", "fetcher", "gateway"},
            "kafka": {"kafka"}, "scale": {"normalizer-more", "gateway-2", "nginx"}, "monitoring": {"prometheus", "alertmanager", "grafana", "otel-collector"}}
OURS = {"reconciler", "normalizer", "normalizer-more", "fetcher", "gateway", "gateway-2"}


def compose(tmp_path, text=None):
    """(exit status, what docker-compose makes of the file) with .env.example filled in, as far as it must be."""
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed: run tools/deps deploy")
    file = tmp_path / "env"
    needed = "|".join(set(re.findall(r"\$\{(\w+):\?", FILE.read_text())))
    file.write_text(re.sub(rf"(?m)^({needed})=$", rf"\1={SECRET}", EXAMPLE.read_text()) if text is None else text)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COMPOSE_")}
    profiles = [word for name in PROFILES for word in ("--profile", name)]
    return run("docker-compose", "--env-file", file, "-f", FILE, *profiles, "config", env=clean)


@pytest.fixture
def services(tmp_path):
    status, said = compose(tmp_path)
    assert status == 0, said
    return yaml.safe_load(said)["services"]


def test_profiles(services):
    for profile, names in PROFILES.items():
        assert {name for name, service in services.items() if profile in service["profiles"]} == names
    assert services["normalizer-more"]["deploy"]["replicas"] == 2


def test_env_example_has_what_is_asked_for_and_nothing_else(tmp_path):
    asked = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
    given = set(re.findall(r"(?m)^(\w+)=", EXAMPLE.read_text())) - {"COMPOSE_PROJECT_NAME"}
    assert asked == given
    status, said = compose(tmp_path, EXAMPLE.read_text())
    assert status != 0 and "set it in .env" in said, "an empty password must not start anything"


def test_containers_are_closed(services):
    for name, service in services.items():
        assert re.search(r":[v0-9][\w.-]*$", service["image"]), f"{name}: {service['image']} is no fixed version"
        assert service["mem_limit"] and service["restart"] == "unless-stopped" and service["logging"]["options"]["max-size"], name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not service.get("privileged") and service.get("network_mode") is None, name
        if name in OURS:
            assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["user"] == "10001:10001", name
            assert service["security_opt"] == ["no-new-privileges:true"] and service["stop_grace_period"] == "40s", name
            assert service["volumes"] and all(volume.endswith(":ro") for volume in service["volumes"]), name


def test_who_shares_a_network_is_an_arrow_of_the_design(services):
    networks = {name: set(service["networks"]) - {"ops"} for name, service in services.items()}
    for name in OURS:
        kind = name.split("-")[0]
        reached = {other for other in ("redis", "postgres", "anvil") if networks[name] & networks[other]}
        expected = {"postgresql": "postgres", "redis": "redis", "nodes": "anvil"}
        assert reached == {expected[arrow] for arrow in ARROWS[kind] if arrow in expected}, name
    assert networks["nginx"] == {"front"} and networks["prometheus"] == set()
    for name in ("normalizer", "fetcher", "normalizer-more"):
        assert "POSTGRES" not in json.dumps(services[name]["environment"])
    assert "WEIR_POSTGRES_URL" not in services["gateway"]["environment"]


def test_kafka_is_reached_by_gateways_alone(services):
    brokers = {name for name, service in services.items() if "brokers" in service["networks"]}
    assert brokers == {"gateway", "gateway-2", "kafka"} and set(services["kafka"]["networks"]) == {"brokers"}
    kafka, properties = services["kafka"], dict(line.split("=", 1) for line in (COMPOSE / "kafka.properties").read_text().splitlines() if line[0] != "#")
    assert kafka["read_only"] and kafka["cap_drop"] == ["ALL"] and kafka["user"] == "1000:1000" and "ports" not in kafka
    address = properties["advertised.listeners"].split(",")[0].removeprefix("PLAINTEXT://")
    assert f"# With profile kafka: kafka://{address}" in EXAMPLE.read_text()
    assert "--topic weir.dev.ledger " in kafka["command"][0] and services["gateway"]["environment"]["WEIR_CHAINS_0_NAME"] == "dev"
    assert {"LOCAL": "localhost", "CONTROLLER": "localhost"}.items() <= {
        listener.split("://")[0]: listener.split("://")[1].split(":")[0] for listener in properties["listeners"].split(",")}.items()
    for name in ("gateway", "gateway-2"):
        assert services[name]["environment"]["WEIR_KAFKA_URL"] == "", "off, until it is said"


def test_the_collector_takes_what_weir_sends(services):
    settings = yaml.safe_load((COMPOSE / "otel-collector.yaml").read_text())
    port = settings["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rsplit(":", 1)[1]
    assert f"# With profile monitoring: http://otel-collector:{port}" in EXAMPLE.read_text()
    assert all(services[name]["environment"]["WEIR_OTEL_ENDPOINT"] == "" and "ops" in services[name]["networks"] for name in OURS)
    for pipeline in settings["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert pipeline[part] and set(pipeline[part]) <= set(settings[part])


def test_prometheus_finds_every_instance(services):
    jobs = yaml.safe_load((ROOT / "deploy" / "monitoring" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    names = {dns["names"][0]: dns["port"] for job in jobs for dns in job["dns_sd_configs"]}
    listens = yaml.safe_load((COMPOSE / "weir.yaml").read_text())["ops"]["listen"]
    assert names == {name: int(address.rsplit(":")[-1]) for name, address in listens.items()}
    for extra, name in (("gateway-2", "gateway"), ("normalizer-more", "normalizer")):
        assert services[extra]["networks"]["ops"]["aliases"] == [name]


@pytest.fixture
def stores(tmp_path):
    tmp_path.chmod(0o755)
    parts = []
    try:
        parts.append(redis := stack.Redis(tmp_path / "redis").start())
        parts.append(postgres := stack.Postgres(tmp_path / "postgres").start())
        parts.append(node := stack.anvil(tmp_path / "anvil.log"))
        yield redis, postgres, node, parts
    finally:
        for part in reversed(parts):
            part.stop()


def test_each_program_accepts_its_configuration(stores, services):
    """With the variables of its service, in the order of depends_on; the database is made by the script that the container runs."""
    redis, postgres, node, _ = stores
    redis.command("ACL", "SETUSER", "default", "on", "resetpass", ">" + SECRET)
    environment = {"PATH": f"{postgres.bin}:{os.environ['PATH']}", "PGHOST": str(postgres.sockets), "POSTGRES_USER": "weir", "POSTGRES_DB": "weir",
                   "READER_PASSWORD": SECRET}
    status, said = run("bash", COMPOSE / "postgres-init.sh", env=environment)
    assert status == 0, said
    moved = {"http://anvil:8545": node.rpc, "ws://anvil:8545": node.ws}
    for name in ("reconciler", "normalizer", "fetcher", "gateway"):
        given = {k: moved.get(v, v.replace("host=postgres ", f"host={postgres.sockets} ")) for k, v in services[name]["environment"].items()}
        given.update({"WEIR_BUS_REDIS_URL": redis.url, "WEIR_GATEWAY_LISTEN": "127.0.0.1:0", "WEIR_GATEWAY_ADMIN_LISTEN": "127.0.0.1:0"})
        if name == "reconciler":
            assert run(BIN / f"weir-{name}", "--config", COMPOSE / "weir.yaml", "--migrate", env=given)[0] == 0
        status, said = run(BIN / f"weir-{name}", "--config", COMPOSE / "weir.yaml", "--check", env=given)
        assert status == 0 and "check_passed" in said, (name, said)


def test_nginx_carries_requests_and_websockets_over_the_loss_of_a_gateway(stores, tmp_path):
    redis, postgres, node, parts = stores
    nginx = tool("nginx")
    suite = stack.Suite(tmp_path / "suite", redis.url, postgres.url, [stack.dev_chain(node)])
    parts.append(suite.start())
    other = stack.Suite(tmp_path / "other", redis.url, postgres.url, [stack.dev_chain(node)])
    parts.append(other.start(("gateway",)))
    port = stack.free_port()
    text = (COMPOSE / "nginx.conf").read_text().replace("gateway-2:8080", f"127.0.0.1:{other.api_port}").replace("gateway:8080", f"127.0.0.1:{suite.api_port}")
    config = tmp_path / "nginx.conf"
    config.write_text(text.replace("listen 8088", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{tmp_path}/nginx-"))
    status, said = run(nginx, "-t", "-e", "stderr", "-p", tmp_path, "-c", config)
    assert status == 0, said
    proxy = stack.Process("nginx", [nginx, "-e", "stderr", "-p", tmp_path, "-c", config, "-g", "daemon off;"], tmp_path / "nginx.log").start()
    parts.append(proxy)
    stack.wait_until("nginx", 10, lambda: stack.http_json(f"http://127.0.0.1:{port}/v1/chains")[0] == 200)

    def subscribe(where):
        client = websocket.create_connection(f"ws://127.0.0.1:{port}/v1/ws", timeout=20)
        client.send(json.dumps({"id": 1, "method": "subscribe", "params": {"topic": "blocks", "chain": "dev", "from": where}}))
        return client

    def heights(client, last):
        """Heights pushed, up to this one; and the offset to resume from."""
        seen, offset = [], None
        while not seen or seen[-1] < last:
            message = json.loads(client.recv())
            offset = message.get("offset", offset)
            if message.get("event", {}).get("type") == "block":
                seen.append(message["event"]["height"])
        return seen, offset

    node.call("anvil_mine", "0x5")
    client = subscribe({"height": 0})
    first, offset = heights(client, node.height())
    client.close()
    suite.processes["gateway"].stop()
    node.call("anvil_mine", "0x5")
    client = subscribe({"offset": offset})
    second, _ = heights(client, node.height())
    client.close()
    assert first + second == list(range(node.height() + 1))
    assert all(stack.http_json(f"http://127.0.0.1:{port}/v1/chains")[0] == 200 for _ in range(10))
    subprocess.run([nginx, "-e", "stderr", "-p", tmp_path, "-c", config, "-s", "quit"], check=True, stderr=subprocess.DEVNULL)
