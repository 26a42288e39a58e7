"""What weir does with bad input and bad surroundings: it names the thing, says what to do, ends with the documented exit status or waits
visibly, and nothing is lost or half done. Each case is what an operator would do wrong or meet."""
import concurrent.futures as futures
import http.server
import os
import pathlib
import re
import shlex
import signal
import socket
import socketserver
import struct
import subprocess
import threading
import urllib.request

import pytest

import stack
from conftest import caught_up, ledger_faults

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The exit status of a program that ended because of a code, as the manual says.
DOCUMENTED = {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| -?\d+ \| \w+ \| (\d+) \|", (ROOT / "docs" / "errors.md").read_text(), re.M)}


def clean_environment(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")} | more


def fields(line):
    """One logfmt line as a dictionary."""
    return dict(part.split("=", 1) for part in shlex.split(line) if "=" in part)


class Ended:
    def __init__(self, status, out, said):
        self.status, self.out, self.said = status, out, said
        lines = [line for line in said.splitlines() if "level=error" in line]
        self.last = fields(lines[-1]) if lines else {}
        self.error = self.last.get("error", "")


def run(service, *arguments, environment=None, seconds=120):
    """A service that must end by itself."""
    program = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")) / f"weir-{service}"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=seconds, check=False, env=clean_environment(**(environment or {})))
    return Ended(done.returncode, done.stdout, done.stderr)


def refused(code, *words, of):
    """It ended with this error: words in the message, what to do, and the documented status in the log and as the program's own."""
    assert of.status == DOCUMENTED[code], (of.status, of.said[-1500:])
    assert of.last["event"] in ("failed", "bad_configuration") and of.last["error_code"] == code, of.last
    assert of.last["exit_status"] == str(of.status) and len(of.last["action"]) > 10
    for word in words:
        assert word in of.error, (word, of.error)
    return of


# ---- settings --------------------------------------------------------------------------------------------------------------------------


def settings_table():
    """Rows of the manual, as the program prints them: (path, type, allowed)."""
    rows = re.findall(r"^\| `([^`]+)` \| (\S+) \| (?:`[^`]*`)? *\| ([^|]*) \|", run("fetcher", "--print-settings-md").out, re.M)
    assert len(rows) > 50
    return rows


def bad_values(kind, allowed):
    limits = re.match(r"(\d+) to (\d+)", allowed)
    if limits:
        least, most = map(int, limits.groups())
        return [str(most + 1), "many", "-1", "1.5", "99999999999999999999", *([str(least - 1)] if least > 0 else []), "1 " + str(most)]
    if kind in ("choice",) or ", " in allowed:
        return ["nonsense", allowed.split(", ")[0].upper() + "x"]
    return ["yes", "1"] if kind == "true/false" else ['"control \\x01 character"']


def yaml_with(path, value):
    """A file that holds just this setting: (text, line, column of the value, column of the key, the path as messages say it)."""
    lines, indent, shown = [], 0, []
    dash = ""
    *sections, key = path.split(".")
    for section in sections:
        name = section.removesuffix("[]")
        lines.append(" " * indent + dash + name + ":")
        indent += 2 + len(dash)
        dash = "- " if section.endswith("[]") else ""
        shown.append(name + ("[0]" if dash else ""))
    head = " " * indent + dash + key + ": "
    return "\n".join([*lines, head + value]) + "\n", len(lines) + 1, len(head) + 1, indent + len(dash) + 1, ".".join([*shown, key])


def test_every_setting_out_of_range_is_named_with_its_place(tmp_path):
    file, tried = tmp_path / "weir.yaml", 0
    for path, kind, allowed in settings_table():
        for value in bad_values(kind, allowed):
            text, line, column, _, shown = yaml_with(path, value)
            file.write_text(text)
            ended = refused("config", of=run("normalizer", "--config", file))
            assert ended.error.startswith(f"{file}:{line}:{column}: {shown}: "), (text, ended.error)
            assert not allowed.strip() or allowed.split(" ")[0].rstrip(",") in ended.error, "it says what is allowed"
            tried += 1
    assert tried > 200


def test_every_variable_out_of_range_is_named(tmp_path):
    file = tmp_path / "weir.yaml"
    file.write_text("gateway:\n  keys:\n    - name: a\n      key: 0123456789abcdef\nchains:\n  - name: dev\n    endpoints:\n      - url: http://127.0.0.1:1\n")
    for path, kind, allowed in settings_table():
        name = "WEIR_" + path.replace("[]", ".0").replace(".", "_").upper()
        value = bad_values(kind, allowed)[0].replace("\\x01", "\x01")
        refused("config", name, of=run("normalizer", "--config", file, environment={name: value}))


def test_every_unknown_setting_is_named_with_its_place(tmp_path):
    file = tmp_path / "weir.yaml"
    for path, _, _ in settings_table():
        *sections, key = path.split(".")
        text, line, _, column, shown = yaml_with(".".join([*sections, key + "s"]), "1")
        file.write_text(text)
        ended = refused("config", "no such setting", "docs/configuration.md", of=run("gateway", "--config", file))
        assert ended.error.startswith(f"{file}:{line}:{column}: {shown}: "), (text, ended.error)
        assert f"is {key} meant?" in ended.error
    assert (ROOT / "docs" / "configuration.md").exists()
    refused("config", "WEIR_CHAINS_0_NAME", of=run("gateway", environment={"WEIR_CHAINS_0_NAME": "dev"}))


ENDPOINT = "chains:\n  - name: dev\n    endpoints:\n"


@pytest.mark.parametrize("text,words", [
    ("bus:\n\tlease: 5s\n", ":2:1: not YAML"), ("bus: {lease: 5s\n", "not YAML"), ("bus:\n  lease: 5s\n  lease: 6s\n", ":3:3: bus.lease: given twice"),
    ("bus:\n  - lease: 5s\n", ":2:3: bus: must be a mapping"), ("chains: dev\n", ":1:9: chains: must be a list"), ("chains:\n  name: dev\n", "chains: must be a list"),
    ("bus.lease: 5s\n", "nested sections"), ("bus:\n  lease: ~\n", ":2:10: bus.lease"), ("log: {}\n---\nlog: {}\n", ":3:1: a second document"),
    ("chains:\n  - name: dev\n", "chains[0].endpoints"), (ENDPOINT + "      - url: localhost:8545\n", ":4:14: chains[0].endpoints[0].url"),
    (ENDPOINT + "      - name: a\n", "chains[0].endpoints[0].url: missing"), (ENDPOINT + "      - {name: a, url: http://x}\n      - {name: a, url: http://y}\n", "named a"),
    ("chains:\n  - name: My Chain\n    endpoints:\n      - url: http://x\n", ":2:11: chains[0].name"),
    ("gateway:\n  listen: 8080\n", ":2:11: gateway.listen: \"8080\" is not host:port"), ("bus:\n  redis_url: localhost:6379\n", ":2:14: bus.redis_url"),
    ("gateway:\n  keys:\n    - name: me\n      key: short\n", ":4:12: gateway.keys[0].key"), ("gateway:\n  keys:\n    - key: 0123456789abcdef\n", "gateway.keys[0].name"),
    ("chains:\n  - name: dev\n    genesis_hash: 0x12\n    endpoints:\n      - url: http://x\n", ":3:19: chains[0].genesis_hash")])
def test_files_that_mean_nothing_are_refused_with_the_place(tmp_path, text, words):
    file = tmp_path / "weir.yaml"
    file.write_text(text)
    assert refused("config", words, of=run("reconciler", "--config", file)).error.startswith(str(file))


@pytest.mark.parametrize("arguments,code,words", [
    (["--config", "/nonexistent/weir.yaml"], "config", "/nonexistent/weir.yaml"), (["--config", "/"], "config", "configuration file /"),
    (["--config", "/dev/null", "--check"], "config", "--print-sample-config")])
def test_files_that_are_not_there_are_named(arguments, code, words):
    refused(code, words, of=run("normalizer", *arguments, environment={"WEIR_OPS_LISTEN_NORMALIZER": "127.0.0.1:0"}))


@pytest.mark.parametrize("arguments,named", [(["--chekc"], "--chekc"), (["start"], '"start"'), (["--config"], "--config")])
def test_wrong_usage_is_named(arguments, named):
    for service in stack.SERVICES:
        ended = run(service, *arguments)
        assert ended.status == DOCUMENTED["usage"] and named in ended.said and "--help" in ended.said


# ---- the place where the services would run --------------------------------------------------------------------------------------------


class Web(http.server.BaseHTTPRequestHandler):
    """Addresses at which no JSON-RPC endpoint is."""
    PAGES = {"/page": (200, "text/html", b"<html><title>Welcome</title></html>"), "/other": (200, "application/json", b'{"hello":"world"}'),
             "/gone": (404, "text/html", b"nothing here"), "/locked": (401, "application/json", b'{"message":"key?"}'), "/empty": (200, "text/plain", b"")}

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, kind, body = self.PAGES.get(self.path.split("?")[0], self.PAGES["/gone"])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class OldRedis(socketserver.StreamRequestHandler):
    """Says that it is Redis 6.2, and knows no functions."""

    def handle(self):
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2].upper())
            info = b"redis_version:6.2.14\r\nrun_id:0123\r\n"
            self.wfile.write({b"INFO": b"$%d\r\n%s\r\n" % (len(info), info), b"FUNCTION": b"-ERR unknown command 'FUNCTION'\r\n",
                              b"FCALL": b"-ERR unknown command 'FCALL'\r\n"}.get(words[0], b"+OK\r\n"))


class OldPostgres(socketserver.BaseRequestHandler):
    """Lets everybody in and says that it is PostgreSQL 12."""

    def handle(self):
        def message(kind, body):
            return kind + struct.pack(">I", len(body) + 4) + body

        while len(head := self.request.recv(4)) == 4:
            body = self.request.recv(struct.unpack(">I", head)[0] - 4)
            if body[:4] in (struct.pack(">I", 80877103), struct.pack(">I", 80877104)):  # TLS, GSS?
                self.request.sendall(b"N")
                continue
            self.request.sendall(message(b"R", struct.pack(">I", 0)) + message(b"S", b"server_version\0" + b"12.9\0") +
                                 message(b"S", b"client_encoding\0UTF8\0") + message(b"K", struct.pack(">II", 1, 1)) + message(b"Z", b"I"))
            self.request.recv(4096)
            return


class Place:
    def __init__(self, folder):
        self.folder, self.servers, self.count = folder, [], 0
        os.chmod(folder, 0o755)
        self.redis = stack.Redis(folder / "redis").start()
        self.postgres = stack.Postgres(folder / "postgres", ["fsync=off"]).start()
        self.node = stack.anvil(folder / "anvil.log")
        self.web = f"http://127.0.0.1:{self.serve(Web, http.server.ThreadingHTTPServer)}"

    def serve(self, handler, kind=socketserver.ThreadingTCPServer):
        server = kind(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server.server_address[1]

    def suite(self, settings=None, chains=None):
        self.count += 1
        return stack.Suite(self.folder / f"suite{self.count}", self.redis.url, self.postgres.url, chains or [stack.dev_chain(self.node)], settings)

    def run(self, service, settings=None, *arguments, chains=None, seconds=120):
        return run(service, "--config", self.suite(settings, chains).config, *arguments, seconds=seconds)

    def role(self, what):
        """The connection string with another role."""
        return self.postgres.url.replace("user=weir", f"user={what}")

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.node.stop()
        self.postgres.stop()
        self.redis.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("place"))
    yield place
    place.stop()


# ---- Redis -----------------------------------------------------------------------------------------------------------------------------

def test_redis_is_not_there(place):
    cases = [("normalizer", "redis://127.0.0.1:1/0", "127.0.0.1:1"), ("fetcher", "unix:///nowhere/redis", "/nowhere/redis"),
             ("reconciler", "redis://no-such-host.invalid/0", "no-such-host.invalid"), ("normalizer", place.web.replace("http", "redis") + "/0", "Protocol error"),
             ("gateway", "redis://127.0.0.1:1/0", "127.0.0.1:1")]
    with futures.ThreadPoolExecutor(len(cases)) as pool:  # each tries for some seconds
        for (_, _, words), ended in zip(cases, pool.map(lambda case: place.run(case[0], {"bus": {"redis_url": case[1]}}, "--check"), cases)):
            refused("unavailable", words, "Redis", of=ended)


def test_redis_is_old(place):
    url = f"redis://127.0.0.1:{place.serve(OldRedis)}"
    for service in stack.SERVICES:
        refused("version", "6.2.14", "7.0 or newer", of=place.run(service, {"bus": {"redis_url": url}}))


def test_redis_lets_nobody_in(place):
    place.redis.command("ACL", "SETUSER", "nothing", "on", ">password-of-nothing", "~*", "&*")
    place.redis.command("ACL", "SETUSER", "nofunction", "on", ">password-of-nofunction", "~*", "&*", "+@all", "-function")
    for service in stack.SERVICES:
        refused("permission", "WRONGPASS", of=place.run(service, {"bus": {"username": "nothing", "password": "wrong-password"}}))
        refused("permission", "NOPERM", "'info'", of=place.run(service, {"bus": {"username": "nothing", "password": "password-of-nothing"}}))
        ended = refused("permission", "NOPERM", "function", of=place.run(service, {"bus": {"username": "nofunction", "password": "password-of-nofunction"}}))
        assert "password-of" not in ended.said


def test_redis_that_throws_away_is_refused(place):
    place.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        for service in stack.SERVICES:
            refused("config", "allkeys-lru", "noeviction", of=place.run(service))
    finally:
        place.redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_redis_keys_that_are_forbidden_are_named_and_waited_for(place):
    """Rights that are missing for some keys only show when they are used: then a service waits, not ready, and goes on when they are given."""
    place.redis.command("ACL", "SETUSER", "elsewhere", "on", ">password-of-elsewhere", "~other*", "&*", "+@all")
    suite = place.suite({"bus": {"username": "elsewhere", "password": "password-of-elsewhere"}}).start(("reconciler", "normalizer", "fetcher"), wait=0)
    try:
        for process in suite.processes.values():
            stack.wait_until(f"{process.name} names it", 60, lambda p=process: "NOPERM" in p.log.read_text() and "error_code=permission" in p.log.read_text())
        for name in suite.processes:
            stack.wait_until(f"{name} is not ready", 60, lambda n=name: not suite.ready(n))
        place.redis.command("ACL", "SETUSER", "elsewhere", "~*")
        stack.wait_until("ready with the right given", 60, lambda: all(suite.ready(name) for name in suite.processes))
    finally:
        assert set(suite.stop().values()) == {0}


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------------------------


def schemas(place):
    return int(place.postgres.query("select count(*) from pg_namespace where nspname like 'weir%'")[0][0])


def test_postgres_is_not_there(place):
    cases = [(service, url, words) for service in ("reconciler", "gateway")
             for url, words in [("host=127.0.0.1 port=1 dbname=weir", "port 1"), ("host=no-such-host.invalid dbname=weir", "no-such-host.invalid")]]
    with futures.ThreadPoolExecutor(len(cases)) as pool:
        for (_, _, words), ended in zip(cases, pool.map(lambda case: place.run(case[0], {"postgres": {"url": case[1]}}), cases)):
            refused("unavailable", words, "PostgreSQL", of=ended)


@pytest.mark.parametrize("change,code,words", [
    (lambda url: url.replace("dbname=weir", "dbname=nowhere"), "not_found", "createdb"), (lambda url: url.replace("user=weir", "user=nobody"), "permission", '"nobody"'),
    (lambda url: "hots=127.0.0.1 password=hunter2", "config", "postgres.url"), (lambda url: "postgresql://weir:hunter2@[oops/weir", "config", "postgres.url"),
    (lambda url: "postgresql://weir:hunter2%zz@127.0.0.1/weir", "config", "postgres.url"), (lambda url: "host=127.0.0.1 password=open hunter2", "config", "postgres.url")])
def test_postgres_is_wrongly_addressed(place, change, code, words):
    for service in ("reconciler", "gateway"):
        ended = refused(code, words, of=place.run(service, {"postgres": {"url": change(place.postgres.url)}}))
        assert "hunter2" not in ended.said, "a password must not be logged"


def test_postgres_is_old(place):
    url = f"host=127.0.0.1 port={place.serve(OldPostgres)} user=weir dbname=weir"
    for service in ("reconciler", "gateway"):
        refused("version", "12.9", "15 or newer", of=place.run(service, {"postgres": {"url": url}}))


def test_postgres_role_may_not_create_or_read(place):
    """First in an empty database, and nothing is left half made; then over the ledger of another role."""
    place.postgres.query("create database empty")
    place.postgres.query("create role weak login")
    empty = place.role("weak").replace("dbname=weir", "dbname=empty")
    refused("permission", "grant create on database", of=place.run("reconciler", {"postgres": {"url": empty}}))
    assert subprocess.run([place.postgres.bin / "psql", "-XAtqd", empty, "-c", "select count(*) from pg_namespace where nspname like 'weir%'"], check=True,
                          capture_output=True, text=True).stdout == "0\n"
    assert place.run("reconciler", None, "--migrate").status == 0, "the owner makes the ledger"
    assert schemas(place) == sum(path.read_text().count("\ncreate schema ") for path in (ROOT / "services" / "reconciler" / "migrations").glob("*.sql"))
    refused("permission", "schema weir", of=place.run("reconciler", {"postgres": {"url": place.role("weak")}}))
    refused("permission", "weir_reader", "postgres.reader_url", of=place.run("gateway", {"postgres": {"reader_url": place.role("weak")}}))
    place.postgres.query("grant weir_reader to weak")
    assert place.run("gateway", {"postgres": {"reader_url": place.role("weak")}}, "--check").status == 0, "what the message says helps"


# ---- listeners -------------------------------------------------------------------------------------------------------------------------


def test_occupied_and_impossible_addresses_are_named(place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        for service in stack.SERVICES:
            refused("address_in_use", busy, f"ops.listen.{service}", of=place.run(service, {"ops": {"listen": {service: busy}}}))
        for setting in ("listen", "admin_listen"):
            refused("address_in_use", busy, f"gateway.{setting}", of=place.run("gateway", {"gateway": {setting: busy}}))
    for address in ("192.0.2.1:9000", "no-such-host.invalid:9000"):
        refused("config", address, "ops.listen.fetcher", of=place.run("fetcher", {"ops": {"listen": {"fetcher": address}}}))
        refused("config", address, "gateway.listen", of=place.run("gateway", {"gateway": {"listen": address}}))


# ---- endpoints -------------------------------------------------------------------------------------------------------------------------

NOT_ENDPOINTS = [("/page", "begins with \"<html>"), ("/other", "exactly one of result and error"), ("/gone", "HTTP status 404"), ("/locked", "HTTP status 401"),
                 ("/empty", "the answer is empty")]


def endpoints(*urls):
    return [{"name": f"e{i}", "url": url} for i, url in enumerate(urls)]


@pytest.mark.parametrize("service", ["fetcher", "reconciler"])
def test_check_names_each_endpoint_that_is_wrong(place, service):
    """And leaves a database that has no ledger without one."""
    place.postgres.query(f"create database checked_{service}")
    settings = {"postgres": {"url": place.postgres.url.replace("dbname=weir", f"dbname=checked_{service}")}}
    dead = f"http://127.0.0.1:{stack.free_port()}/my-api-key"
    for url, words in [*((place.web + path, words) for path, words in NOT_ENDPOINTS), (dead, "connect"), ("http://no-such-host.invalid/my-api-key", "resolve")]:
        ended = refused("unavailable", "chain dev, endpoint e1", words, of=place.run(service, settings, "--check", chains=[
            stack.dev_chain(place.node, endpoints=endpoints(place.node.rpc, url))]))
        assert "my-api-key" not in ended.said and "endpoint=e0" in ended.said and "e0" not in ended.error
    for more, words in [({"chain_id": 1}, "chain id"), ({"genesis_hash": "0x" + "11" * 32}, "genesis block")]:
        refused("wrong_chain", "endpoint a", words, of=place.run(service, settings, "--check", chains=[stack.dev_chain(place.node, **more)]))
    assert place.run(service, settings, "--check").status == 0
    assert place.postgres.query("select count(*) from pg_namespace where nspname like 'weir%'", f"checked_{service}") == [["0"]]


def test_an_address_that_is_no_endpoint_is_named_and_waited_for(place):
    suite = place.suite(chains=[stack.dev_chain(place.node, endpoints=endpoints(*(place.web + path for path, _ in NOT_ENDPOINTS)))]).start(("fetcher",), wait=0)
    fetcher = suite.processes["fetcher"]
    try:
        for i, (_, words) in enumerate(NOT_ENDPOINTS):
            stack.wait_until(f"{words} named", 60, lambda n=i, w=words: any(f"endpoint=e{n} " in line and fields(line).get("error", "").find(w) >= 0
                                                                            for line in fetcher.log.read_text().splitlines()))
        stack.wait_until("an alert", 60, lambda: "event=alert_firing" in fetcher.log.read_text())
        assert not suite.ready("fetcher")
    finally:
        assert suite.stop() == {"fetcher": 0}


def test_another_chain_is_not_mixed_into_the_ledger(place):
    place.postgres.query("create database other")
    url = place.postgres.url.replace("dbname=weir", "dbname=other")
    wrong = {"postgres": {"url": url}, "bus": {"redis_url": place.redis.url}}
    suite = place.suite(wrong).start(("reconciler",))
    assert suite.stop() == {"reconciler": 0}
    for only in ([], ["--check"]):
        refused("wrong_chain", "31337", of=place.run("reconciler", wrong, *only, chains=[stack.dev_chain(place.node, chain_id=1)]))
    refused("config", "mars", "known", of=place.run("reconciler", wrong, chains=[stack.dev_chain(place.node, profile="mars")]))


def test_a_start_that_the_chain_has_not_reached_is_told_and_cannot_be_moved(place):
    place.postgres.query("create database later")
    settings = {"postgres": {"url": place.postgres.url.replace("dbname=weir", "dbname=later")}}
    chain = stack.dev_chain(place.node, name="later", start_height=1000)
    suite = place.suite(settings, [chain]).start(("reconciler", "fetcher"), wait=0)
    try:
        stack.wait_until("told", 60, lambda: told(suite, "fetcher", "level=warn", "event=start_not_reached", "start_height=1000"))
    finally:
        assert set(suite.stop().values()) == {0}
    for only in ([], ["--check"]):
        refused("config", "begins at block 1000", "start_height 0", of=place.run("reconciler", settings, *only, chains=[stack.dev_chain(place.node, name="later")]))


# ---- secrets ---------------------------------------------------------------------------------------------------------------------------


def test_secrets_come_from_files_and_are_never_told(place, tmp_path):
    place.redis.command("ACL", "SETUSER", "keeper", "on", ">secret-of-redis", "~*", "&*", "+@all")
    place.postgres.query("create database secrets")
    secrets = {"redis": "secret-of-redis", "postgres": place.postgres.url.replace("dbname=weir", "dbname=secrets") + " password=secret-of-postgres",
               "key": "secret-of-operators", "auth": "Bearer secret-of-endpoint", "hook": f"{place.web}/gone?secret-of-webhook"}
    for name, value in secrets.items():
        (tmp_path / name).write_text(value + "\n")
    file = {name: f"file:{tmp_path / name}" for name in secrets}
    chain = stack.dev_chain(place.node, endpoints=[{"name": "a", "url": place.node.rpc + "/?secret-of-url", "auth_header": file["auth"]},
                                                   {"name": "b", "url": place.web + "/gone?secret-of-url", "auth_header": file["auth"]}])
    settings = {"log": {"level": "debug"}, "bus": {"username": "keeper", "password": file["redis"]}, "postgres": {"url": file["postgres"]},
                "gateway": {"keys": [{"name": "me", "key": file["key"], "role": "admin"}]}, "alerts": {"webhook_url": file["hook"]}}
    suite = place.suite(settings, [chain])
    for name in secrets:
        (tmp_path / name).rename(tmp_path / "away")
        ended = refused("config", f"secret file {tmp_path / name}", "No such file", of=run("gateway", "--config", suite.config))
        assert ended.error.startswith(f"{suite.config}:")
        (tmp_path / name).write_text("\n")
        refused("config", f"secret file {tmp_path / name}: empty", of=run("gateway", "--config", suite.config))
        (tmp_path / "away").rename(tmp_path / name)
    suite.start()
    try:
        stack.wait_until("a ledger", 60, lambda: suite.chain("dev")["watermark"] is not None)
        assert suite.operate("GET", "/admin/v1/status", key="secret-of-operators")[0] == 200
        assert suite.operate("GET", "/admin/v1/status", key="secret-of-operatorsx")[0] == 401
        fetcher = suite.processes["fetcher"].log
        stack.wait_until("the second endpoint failed", 60, lambda: "endpoint=b" in fetcher.read_text())
        told = [urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}").read().decode() for port in suite.ops.values() for path in ("metrics", "readyz")]
        told += [str(suite.operate("GET", "/admin/v1/status", key="secret-of-operators"))]
    finally:
        assert set(suite.stop().values()) == {0}
    told += [process.log.read_text() for process in suite.processes.values()]
    assert not [line for text in told for line in text.splitlines() if "secret-of" in line]


# ---- full disks ------------------------------------------------------------------------------------------------------------------------


NO_DISK = stack.Disk.refused()
need_disk = pytest.mark.skipif(NO_DISK is not None, reason=str(NO_DISK))


def told(suite, service, *words):
    return any(all(word in line for word in words) for line in suite.processes[service].log.read_text(errors="replace").splitlines())


def whole(world, suite, node):
    caught_up(suite, node)
    assert world.oracle(node, suite, count=5)["equal"] and ledger_faults(world.postgres) == {}
    assert set(suite.stop().values()) == {0}


@need_disk
def test_postgres_disk_is_full_for_a_while(world):
    disk = world.keep(stack.Disk(48))
    world.parts.insert(0, world.parts.pop())  # unmounted after PostgreSQL has ended
    tables = disk.folder / "tables"
    tables.mkdir()
    subprocess.run(["chown", "postgres", tables], check=True)
    world.postgres.query(f"create tablespace small location '{tables}'")
    subprocess.run([world.postgres.bin / "psql", "-XqAt", "-d", world.postgres.url.replace("dbname=weir", "dbname=postgres"), "-c",
                    "alter database weir set tablespace small"], check=True)
    node = world.anvil()
    suite = world.suite([stack.dev_chain(node)]).start()
    work = world.workload(node, "--forever", seed=3, **{"block-ms": 60, "txs-per-block": 30, "reorg-every": 0})
    stack.wait_until("it goes", 60, lambda: (suite.chain("dev")["watermark"] or {"height": 0})["height"] > 5)
    disk.fill()
    stack.wait_until("the reconciler names the disk", 60, lambda: told(suite, "reconciler", "level=warn", "No space left on device", "error_code=io"))
    assert all(process.alive() for process in suite.processes.values())
    assert suite.get("/v1/chains/dev")[0] == 200, "what is in the ledger is served"
    height = node.height()
    disk.free()
    stack.wait_until("it goes on", 180, lambda: suite.chain("dev")["watermark"]["height"] > height)
    assert work.stop(60) == 0
    whole(world, suite, node)


@need_disk
def test_redis_disk_is_full_for_a_while(world):
    world.redis.stop()
    disk = world.keep(stack.Disk(24))
    world.parts.insert(0, world.parts.pop())
    world.redis = world.keep(stack.Redis(disk.folder / "redis").start())
    node = world.anvil()
    suite = world.suite([stack.dev_chain(node)]).start()
    work = world.workload(node, "--forever", seed=4, **{"block-ms": 60, "txs-per-block": 30, "reorg-every": 0})
    stack.wait_until("it goes", 60, lambda: (suite.chain("dev")["watermark"] or {"height": 0})["height"] > 5)
    disk.fill()
    for service in ("fetcher", "reconciler"):
        stack.wait_until(f"{service} names Redis and its disk", 60, lambda s=service: told(suite, s, "level=warn", "MISCONF", "error_code=io"))
    assert all(process.alive() for process in suite.processes.values())
    height = node.height()
    disk.free()
    stack.wait_until("it goes on", 180, lambda: suite.chain("dev")["watermark"]["height"] > height)
    assert work.stop(60) == 0
    whole(world, suite, node)


def test_a_log_that_cannot_be_written_stops_nothing(place):
    suite = place.suite({"log": {"level": "debug"}})
    with open("/dev/full", "w") as full:
        child = subprocess.Popen([suite.bin / "weir-normalizer", "--config", suite.config], stdout=full, stderr=full, env=clean_environment())
    try:
        stack.wait_until("ready", 60, lambda: suite.ready("normalizer"))
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
