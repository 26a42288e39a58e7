"""The playbook of secret rotation, part by part, on one running suite with two gateways: the commands as they stand, then the old secret is refused and the new
one taken. Meanwhile a client with a key asks both gateways as a balancer would, and no request of its fails."""
import base64
import contextlib
import http.client
import http.server
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request

import jwt
import pytest
import stack
import yaml
from conftest import ROOT
from playbook import Machines, blocks

sys.path.insert(0, str(ROOT / "tests" / "service"))
from alert_receivers import Posts  # noqa: E402
from webhook_receiver import Receiver  # noqa: E402

PAGE = blocks("secret-rotation")
ISSUER = "https://issuer.example"
HOSTS = ("127.0.0.2", "127.0.0.3")
SECONDS = 60
# The first administrator becomes "postgres", so that weir is a role without its rights.
ROLES = """create role weir login password 'owner-1'; alter database weir owner to weir;
create role weir_reader nologin; create role weir_identity nologin; create role weir_webhooks nologin;
create role weir_gateway login password 'reader-1' in role weir_reader, weir_identity, weir_webhooks"""
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


class Provider:
    """A node behind a key in its path and one in a header."""

    def __init__(self, node):
        self.paths, self.headers, self.refused = {"/key-1"}, {"Bearer node-1"}, 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path in provider.paths and self.headers["authorization"] in provider.headers:
                    with urllib.request.urlopen(urllib.request.Request(node.rpc, body, {"Content-Type": "application/json"}), timeout=60) as answer:
                        status, text = 200, answer.read()
                else:
                    provider.refused += 1
                    status, text = 401, b"{}"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Client(threading.Thread):
    """Asks one gateway after the other, and, as nginx.conf has it, the next where one does not answer or drains (503). Anything else than 200 is a failure."""

    def __init__(self, bases, key, paths):
        super().__init__(daemon=True)
        self.bases, self.key, self.paths = bases, key, paths
        self.answered, self.failures, self.over = 0, [], threading.Event()

    def ask(self, turn):
        path, said = self.paths[turn % len(self.paths)], []
        for i in range(len(self.bases)):
            try:
                status, body, _ = stack.http_json(self.bases[(turn + i) % len(self.bases)] + path, headers={"X-Api-Key": self.key})
            except (OSError, ValueError, http.client.HTTPException) as error:
                said.append(repr(error))
                continue
            if status == 200:
                return body
            said.append((status, body))
            if status != 503:
                break
        self.failures.append(said)
        return None

    def run(self):
        turn = 0
        while not self.over.wait(0.01):
            self.answered += self.ask(turn) is not None
            turn += 1


class World:
    def __init__(self, folder):
        self.folder, self.parts, self.gateways, self.setting = folder, [], {}, stack.ADMIN_KEY
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.machines = self.keep(Machines(folder, self.act))
        self.redis = self.keep(stack.Redis(folder / "redis").start())
        self.redis.command("ACL", "SETUSER", "weir", "on", ">redis-1", "~*", "&*", "+@all")
        self.postgres = self.keep(stack.Postgres(folder / "pg", ["fsync=off"]).start())
        self.roles()
        self.node = self.keep(stack.anvil(folder / "anvil.log"))
        self.provider = self.keep(Provider(self.node))
        self.posts, self.receiver = Posts(), Receiver()
        self.first = base64.b64encode(b"1" * 32).decode()
        for name, text in {"redis-password": "redis-1", "postgres-url": self.login("weir", "owner-1"), "postgres-reader-url": self.login("weir_gateway", "reader-1"),
                           "jwt-secret": "1" * 32, "jwt-secret-previous": "0" * 32, "session-secret": "1" * 32, "cursor-key": "1" * 32, "cursor-key-previous": "0" * 32,
                           "webhooks-key": self.first, "node-auth": "Bearer node-1",
                           "alerts-url": self.posts.url + "/old"}.items():
            (self.secrets / name).write_text(text)
        file = {path.name: f"file:{path}" for path in self.secrets.iterdir()}
        chain = stack.dev_chain(self.node, endpoints=[{"name": "a", "url": self.provider.url + "/key-1", "auth_header": file["node-auth"]}])
        self.settings = {
            "bus": {"username": "weir", "password": file["redis-password"]}, "postgres": {"reader_url": file["postgres-reader-url"]},
            "gateway": {"anonymous": False, "cursor_key": file["cursor-key"], "cursor_key_previous": file["cursor-key-previous"], "session_secret": file["session-secret"],
                        "jwt": {"issuer": ISSUER, "secret": file["jwt-secret"], "secret_previous": file["jwt-secret-previous"]}},
            "webhooks": {"encryption_key": file["webhooks-key"], "allow_loopback": True, "retry_schedule": "100ms, 100ms, 1h"},
            "alerts": {"webhook_url": file["alerts-url"]}}
        self.suite = self.keep(stack.Suite(folder / "suite", self.redis.url, file["postgres-url"], [chain], self.settings))
        self.machines.link(self.suite.bin / "weirctl")
        for host in HOSTS:
            own = {"WEIR_GATEWAY_LISTEN": f"{host}:{self.suite.api_port}", "WEIR_GATEWAY_ADMIN_LISTEN": f"{host}:{self.suite.admin_port}",
                   "WEIR_OPS_LISTEN_GATEWAY": f"{host}:{self.suite.ops['gateway']}"}
            self.gateways[host] = self.keep(stack.Process(host, [self.suite.bin / "weir-gateway", "--config", self.suite.config], folder / f"{host}.log", env=own))
        self.suite.start(("reconciler", "normalizer", "fetcher"))
        for host in HOSTS:
            self.act("start", host, "gateway")
            stack.wait_until("the gateway", SECONDS, lambda h=host: self.ready(h))
        self.bases = [f"http://{host}:{self.suite.api_port}" for host in HOSTS]
        self.grow(20)
        self.key = self.operate("POST", "keys", {"name": "client", "scopes": ["read", "stream"]})["key"]
        self.operator = self.operate("POST", "keys", {"name": "operator", "scopes": ["read", "admin"]})["key"]
        stack.wait_until("both gateways know them", SECONDS, lambda: self.taken(self.key) and self.taken(self.operator))

    def keep(self, part):
        self.parts.append(part)
        return part

    def roles(self):
        self.postgres.query("create role other superuser login")
        self.sql("alter role weir rename to postgres", "other")
        self.admin = f"host={self.postgres.sockets} user=postgres dbname=weir"
        self.sql(ROLES)
        (self.postgres.data / "pg_hba.conf").write_text(HBA)
        self.sql("select pg_reload_conf()")

    def sql(self, text, user="postgres"):
        return self.psql(f"host={self.postgres.sockets} user={user} dbname=weir", text, check=True).stdout.strip()

    def psql(self, url, text, check=False):
        return subprocess.run([self.postgres.bin / "psql", "-XAtq", "-d", url, "-v", "ON_ERROR_STOP=1", "-c", text], capture_output=True, text=True, check=check, cwd="/")

    def login(self, role, password):
        return f"host={self.postgres.sockets} user={role} password={password} dbname=weir"

    def ready(self, host):
        return stack.http_json(f"http://{host}:{self.suite.ops['gateway']}/readyz", timeout=5)[0] == 200

    def act(self, verb, host, unit):
        process = self.gateways[host] if unit == "gateway" else self.suite.processes[unit]
        if verb in ("stop", "restart"):
            assert process.stop() == 0, process.tail()
        if verb in ("start", "restart"):
            process.start()

    def operate(self, method, path, body=None, host=HOSTS[0], signed_in=True):
        status, answer, _ = stack.http_json(f"http://{host}:{self.suite.admin_port}/admin/v1/{path}", method, body, {"Authorization": f"Bearer {self.setting}"} if signed_in else {})
        assert status in (200, 201, 202), (path, status, answer)
        return answer

    def read(self, key, base=0, path="/v1/chains/dev"):
        """What a client is answered: status and body."""
        return stack.http_json(self.bases[base] + path, headers={"Authorization": f"Bearer {key}"})[:2]

    def session(self, token):
        """What the operators' listeners of all gateways say to it."""
        return {stack.http_json(f"http://{host}:{self.suite.admin_port}/admin/v1/session", headers={"Authorization": f"Bearer {token}"})[0] for host in HOSTS}

    def refused(self, key):
        return all(self.read(key, base)[0] == 401 for base in range(len(HOSTS)))

    def taken(self, key):
        return all(self.read(key, base)[0] == 200 for base in range(len(HOSTS)))

    def watermark(self):
        return self.sql("select watermark_height from weir.chains")

    def grow(self, blocks):
        self.node.call("anvil_mine", hex(blocks))
        stack.wait_until("the ledger at the node's head", SECONDS, lambda: self.watermark() == str(self.node.height()))

    def run(self, heading, number=0, **environment):
        """A block of that part, as it stands."""
        RAN.add((heading, number))
        address = f"http://{HOSTS[0]}"
        return self.machines.run(PAGE["Restarting"][0] + PAGE[heading][number], {
            "SECRETS": str(self.secrets), "GATEWAYS": " ".join(HOSTS), "OPS": str(self.suite.ops["gateway"]), "PGADMIN": self.admin, "CONFIG": str(self.suite.config),
            "RECONCILER": f"127.0.0.1:{self.suite.ops['reconciler']}", "REDIS": f"redis-cli -s {self.redis.socket}", "WEIR_KEY": self.operator,
            "WEIR_API": f"{address}:{self.suite.api_port}", "WEIR_ADMIN": f"{address}:{self.suite.admin_port}", **environment}, [self.postgres.bin])

    @contextlib.contextmanager
    def served(self):
        """No request of a client with a valid key fails."""
        client = Client(self.bases, self.key, ["/v1/chains/dev", "/v1/chains/dev/blocks?limit=3", "/v1/chains/dev/blocks/latest"])
        client.start()
        try:
            stack.wait_until("the client is served", SECONDS, lambda: client.answered > 5 or client.failures)
            yield
            before = client.answered
            stack.wait_until("the client is still served", SECONDS, lambda: client.answered > before + 5 or client.failures)
        finally:
            client.over.set()
            client.join()
        assert client.failures == []

    def stop(self):
        for part in reversed(self.parts):
            part.stop()
        for process in self.gateways.values():
            if process.child:
                process.check_sanitizers()


RAN = {("Restarting", 0)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rotation")
    for path in (folder, *folder.parents[:1]):
        path.chmod(0o755)
    made = World.__new__(World)
    try:
        made.__init__(folder)
        yield made
    finally:
        made.stop()


def test_redis(world):
    with world.served():
        world.run("Redis: bus.password", OLD="redis-1", NEW="redis-2")
    world.grow(2)
    assert world.redis.command("AUTH", "weir", "redis-2").startswith("+OK") and "WRONGPASS" in world.redis.command("AUTH", "weir", "redis-1")
    world.redis.command("CLIENT", "KILL", "USER", "weir")
    world.grow(2)


def test_role_of_the_gateways(world):
    old, new = world.login("weir_gateway", "reader-1"), world.login("weir_gateway_2", "reader-2")
    with world.served():
        world.run("PostgreSQL: postgres.reader_url, the gateways' role", NEW="reader-2", NEW_READER_URL=new)
    assert world.psql(old, "select 1").returncode != 0 and world.psql(new, "select count(*) from weir_api.blocks").returncode == 0
    assert world.sql("select distinct usename from pg_stat_activity where application_name like 'weir-gateway%'") == "weir_gateway_2"
    assert "permission denied" in world.psql(new, "select count(*) from weir.blocks").stderr, "no more than before"
    key = world.operate("POST", "keys", {"name": "made afterwards", "scopes": ["read"]})["key"]
    stack.wait_until("the new role keeps keys", SECONDS, lambda: world.taken(key))


def test_role_of_the_owner(world):
    old, new = world.login("weir", "owner-1"), world.login("weir_2", "owner-2")
    with world.served():
        world.run("PostgreSQL: postgres.url, the ledger's owner", NEW="owner-2", NEW_PGURL=new)
    world.grow(3)
    assert "not permitted to log in" in world.psql(old, "select 1").stderr
    assert world.sql("select distinct usename from pg_stat_activity where application_name like 'weir-reconciler%'") == "weir_2"
    assert world.psql(new, "create table weir.made_by_the_second (a int)").returncode == 0
    assert world.sql("select distinct tableowner from pg_tables where schemaname = 'weir'") == "weir", "what the second role makes belongs to the owner"
    world.psql(new, "drop table weir.made_by_the_second", check=True)


def test_a_key_of_the_settings(world):
    edited, config = world.folder / "edited.yaml", yaml.safe_load(world.suite.config.read_text())
    (old,) = config["gateway"]["keys"]
    new = old | {"name": "second", "key": "the-second-admin-key-0123456789"}

    def edit(*entries):
        config["gateway"]["keys"] = list(entries)
        edited.write_text(stack.yaml_of(config))

    with world.served():
        edit(old, new)
        world.run("gateway.keys", 0, EDITED=str(edited))
        assert world.session(old["key"]) == world.session(new["key"]) == {200}
        edit(new)
        world.run("gateway.keys", 1, EDITED=str(edited))
    world.setting = new["key"]
    assert world.session(old["key"]) == {401} and world.session(new["key"]) == {200}


def test_a_key_of_the_database(world):
    heading = "An API key of the database"
    made = world.operate("POST", "keys", {"name": "customer", "scopes": ["read", "stream"]})
    with world.served():
        said = world.run(heading, 0, CLIENT="customer-2")
        new = next(word for word in re.findall(r"weir_\w{30,}", said))
        stack.wait_until("every gateway takes both, while it is handed over", SECONDS, lambda: world.taken(made["key"]) and world.taken(new))
        world.run(heading, 1, OLD_ID=str(made["id"]))
        stack.wait_until("every gateway refuses the old one", SECONDS, lambda: world.refused(made["key"]))
    assert world.taken(new)


def test_the_issuers_secret(world):
    def token(secret):
        return jwt.encode({"iss": ISSUER, "aud": "weir", "sub": "alice", "exp": int(time.time()) + 600, "scope": "read stream"}, secret, "HS256")

    old, new = token("1" * 32), token("2" * 32)
    assert world.taken(old) and world.refused(new)
    with world.served():
        world.run("gateway.jwt.secret", 0, NEW="2" * 32)
        assert world.taken(old) and world.taken(new)
        world.run("gateway.jwt.secret", 1)
    assert world.refused(old) and world.taken(new)


def test_the_sessions_secret(world):
    world.operate("POST", "users", {"name": "ada", "role": "viewer", "password": "correct horse battery"})

    def sign_in():
        return world.operate("POST", "login", {"user": "ada", "password": "correct horse battery"}, signed_in=False)["access_token"]

    old = sign_in()
    assert world.session(old) == {200}
    with world.served():
        world.run("gateway.session_secret", NEW="2" * 32)
    assert world.session(old) == {401} and world.session(sign_in()) == {200}


def test_the_cursors_key(world):
    def cursor(base):
        return world.read(world.key, base, "/v1/chains/dev/blocks?limit=2")[1]["next_cursor"]

    def follows(place):
        return {world.read(world.key, base, f"/v1/chains/dev/blocks?limit=2&cursor={place}")[0] for base in range(len(HOSTS))}

    old = cursor(0)
    walked, over = [], threading.Event()

    def walk():
        """A client that goes on in its list, each page at the next gateway."""
        client, turn, place = Client(world.bases, world.key, [""]), 0, None
        while not over.wait(0.01):
            client.paths = [f"/v1/chains/dev/blocks?limit=2{'&cursor=' + place if place else ''}"]
            page = client.ask(turn)
            if page is None:
                walked.append(client.failures)
                return
            place, turn = page["next_cursor"], turn + 1

    walker = threading.Thread(target=walk, daemon=True)
    walker.start()
    with world.served():
        world.run("gateway.cursor_key", 0, NEW="2" * 32)
        over.set()
        walker.join()
        assert walked == [] and follows(old) == {200}
        new = cursor(1)
        world.run("gateway.cursor_key", 1)
    assert follows(new) == {200} and follows(old) == {400}


def test_the_key_of_webhooks(world):
    world.receiver.answer = lambda message, n: 200 if not world.receiver.secrets or any(message.signed_by(s) for s in world.receiver.secrets) else 401
    hook = world.operate("POST", "webhooks", {"url": world.receiver.url, "topic": "blocks", "chain": "dev"})
    id, old = str(hook["id"]), hook["secret"]
    world.receiver.secrets = [old]

    def heights():
        return {message.data["height"] for message in world.receiver.unique() if message.type == "block"}

    world.grow(2)
    stack.wait_until("the receiver has the new blocks", SECONDS, lambda: world.node.height() in heights())
    world.run("webhooks.encryption_key", 0, NEW=base64.b64encode(b"2" * 32).decode())
    first = world.node.height() + 1
    world.grow(3)
    last = world.node.height()
    said = world.run("webhooks.encryption_key", 1, ID=id)
    new = next(word for word in re.findall(r"whsec_\S+", said))
    assert new != old
    world.receiver.secrets = [new]

    def came():
        """Enabled again for as long as it takes: a gateway that had not read the new secret yet has counted one more failure."""
        return set(range(first, last + 1)) <= heights() or world.run("webhooks.encryption_key", 2, ID=id) is None

    stack.wait_until("what happened meanwhile came, signed by the new one", SECONDS, came, every=2)
    assert not any(message.signed_by(old) for message in world.receiver.taken if message.data.get("height", 0) >= first)
    world.operate("POST", f"webhooks/{id}/remove", {"why": "end of the test"})


def test_a_nodes_key(world):
    world.provider.paths.add("/key-2")
    world.provider.headers.add("Bearer node-2")
    edited = world.folder / "edited.yaml"
    edited.write_text(world.suite.config.read_text().replace("/key-1", "/key-2"))
    with world.served():
        world.run("A node's url or auth_header", NEW="node-2", EDITED=str(edited))
        world.provider.paths.remove("/key-1")
        world.provider.headers.remove("Bearer node-1")
        refused = world.provider.refused
        world.grow(5)
    assert world.provider.refused == refused, "nobody asks with the old one"


def test_where_alerts_go(world):
    with world.served():
        world.run("alerts.webhook_url", NEW_ALERTS_URL=world.posts.url + "/new")
    stack.wait_until("the test alert", SECONDS, lambda: any("test" in json.dumps(body) for body in world.posts.at("/new")))


def test_every_block_was_run(request):
    """Of all that are on the page, where all tests of this file ran."""
    names = {item.name for item in request.session.items if item.fspath == request.node.fspath}
    if len(names) < sum(name.startswith("test_") for name in globals()):
        pytest.skip("only some tests were asked for")
    assert {(heading, number) for heading, found in PAGE.items() for number in range(len(found))} == RAN
