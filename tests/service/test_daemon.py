"""What all four processes have in common: the command line, signals, the operations listener, logs, alerts."""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import psycopg2
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "stack"))

import stack  # noqa: E402

OK, USAGE, CONFIG, STUCK, INPUT, AWAY = 0, 64, 78, 79, 66, 69
GENESIS = ("--timestamp", "1700000000")
SECRET = "swordfish-and-nothing-else"


def start(name, *arguments, env=None):
    program = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")) / f"weir-{name}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
    return subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(clean, **(env or {})))


def call(name, *arguments, env=None):
    with start(name, *arguments, env=env) as process:
        try:
            out, said = process.communicate(timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, said)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Redis, PostgreSQL and a node for the module; each test has its own suite."""
    folder = tmp_path_factory.mktemp("daemon")
    os.chmod(folder, 0o755)

    class World:
        pass

    world = World()
    world.folder = folder
    world.redis = stack.Redis(folder / "redis").start()
    world.postgres = stack.Postgres(folder / "postgres").start()
    world.node = stack.anvil(folder / "anvil.log", *GENESIS)
    yield world
    for part in (world.node, world.postgres, world.redis):
        part.stop()


@pytest.fixture
def suite(world, tmp_path):
    """suite(settings, names): started; stopped at the end."""
    suites = []

    def make(settings=None, names=stack.SERVICES, wait=60, chain=None):
        made = stack.Suite(tmp_path / f"suite{len(suites)}", world.redis.url, world.postgres.url, [stack.dev_chain(world.node, **(chain or {}))], settings)
        suites.append(made)
        return made.start(names, wait)

    yield make
    for made in suites:
        made.stop()


# ---- command line ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", stack.SERVICES)
def test_help_version_and_what_is_not_understood(name):
    shown = call(name, "--help")
    assert shown.returncode == OK and f"weir-{name}" in shown.stdout and "--config" in shown.stdout and "--check" in shown.stdout
    assert call(name, "--version").stdout.startswith(f"weir-{name} ")
    for wrong in (["--confg", "x"], ["extra"], ["--config"]):
        refused = call(name, *wrong)
        assert refused.returncode == USAGE and "--help" in refused.stderr, (wrong, refused)
    missing = call(name, "--config", "/nowhere/weir.yaml")
    assert missing.returncode != OK and "/nowhere/weir.yaml" in missing.stderr


def test_the_sample_is_a_configuration_with_two_things_to_fill_in(tmp_path):
    sample = tmp_path / "weir.yaml"
    sample.write_text(call("gateway", "--print-sample-config").stdout)
    assert sample.read_text().count("\n") > 40
    for name in stack.SERVICES:
        checked = call(name, "--config", str(sample), "--check")
        assert checked.returncode not in (USAGE, 70) and "no such setting" not in checked.stderr, checked.stderr


@pytest.mark.parametrize("name", stack.SERVICES)
def test_check_tries_the_surroundings_and_starts_nothing(world, suite, name):
    """Also of the gateway, which runs without Redis: what is away is said before."""
    made = suite(names=())
    good = call(name, "--config", str(made.config), "--check")
    assert good.returncode == OK, good.stderr
    dead = call(name, "--config", str(made.config), "--check", env={"WEIR_BUS_REDIS_URL": "unix:///nowhere/redis"})
    assert dead.returncode == AWAY and "/nowhere/redis" in dead.stderr, (dead.returncode, dead.stderr)


def test_only_a_reconciler_migrates_and_asks_the_database_alone(world, suite):
    """Twice is once; --check before says what would be done, and does not do it."""
    world.postgres.query("create database later")
    made = suite({"postgres": {"url": world.postgres.url.replace("dbname=weir", "dbname=later")}}, names=(), chain={"endpoints": [{"name": "a", "url": "http://127.0.0.1:1"}]})
    for name in set(stack.SERVICES) - {"reconciler"}:
        refused = call(name, "--config", str(made.config), "--migrate")
        assert refused.returncode == USAGE and "weir-reconciler --migrate" in refused.stderr and "--migrate" not in call(name, "--help").stdout, refused

    def reconciler(*arguments, **environment):
        return call("reconciler", "--config", str(made.config), *arguments, env=environment)

    def applied():
        return world.postgres.query("select count(*) from weir.migrations", "later")

    node = {"WEIR_CHAINS_0_ENDPOINTS_0_URL": world.node.rpc}
    before = reconciler("--check", **node)
    assert before.returncode == OK and "event=schema_pending" in before.stderr, before.stderr
    assert world.postgres.query("select to_regclass('weir.migrations') is null", "later") == [["t"]]
    assert reconciler("--check").returncode == AWAY, "the node of the settings is not there"
    for _ in range(2):
        done = reconciler("--migrate", WEIR_BUS_REDIS_URL="unix:///nowhere/redis")
        assert done.returncode == OK and "event=schema_current" in done.stderr, done.stderr
    assert applied() == [[str(len(list((ROOT / "services" / "reconciler" / "migrations").glob("*.sql"))))]]
    after = reconciler("--check", **node)
    assert after.returncode == OK and "event=schema_pending" not in after.stderr, after.stderr
    assert world.postgres.query("select count(*) from weir.chains", "later") == [["0"]]
    world.postgres.query("insert into weir.migrations (number, name, checksum) values (9999, 'of a later weir', '')", "later")
    for option in ("--check", "--migrate"):
        newer = reconciler(option, **node)
        assert newer.returncode != OK and "run the newer weir" in newer.stderr, newer.stderr


@pytest.fixture
def hole():
    """Connections to it are accepted, by the kernel, and nobody ever says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def checks(names, config, env=None):
    """{name: (status, what it said)} of --check, side by side; each has 5 s for what it waits for, and the rest for a machine that has other things to do."""
    started = {name: start(name, "--config", str(config), "--check", env=env) for name in names}
    try:
        said = {name: process.communicate(timeout=35)[1] for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    return {name: (process.returncode, said[name]) for name, process in started.items()}


def test_M10_check_waits_no_longer_than_5s_for_a_redis_that_says_nothing(suite, hole):
    for name, (status, said) in checks(stack.SERVICES, suite(names=()).config, {"WEIR_BUS_REDIS_URL": f"redis://127.0.0.1:{hole}/0"}).items():
        assert status == AWAY and "Redis" in said and f"127.0.0.1:{hole}" in said, (name, status, said)


def test_M10_check_waits_no_longer_than_5s_for_a_database_that_says_nothing(suite, hole):
    """Whatever connections may take later."""
    env = {"WEIR_POSTGRES_URL": f"host=127.0.0.1 port={hole} user=weir dbname=weir", "WEIR_POSTGRES_CONNECT_TIMEOUT": "2m"}
    for name, (status, said) in checks(("reconciler", "gateway"), suite(names=()).config, env).items():
        assert status == AWAY and "PostgreSQL" in said and str(hole) in said, (name, status, said)


def test_M10_check_waits_no_longer_than_5s_for_nodes_that_say_nothing(world, tmp_path, hole):
    """All chains' endpoints at the same time."""
    url = f"http://127.0.0.1:{hole}"
    chains = [dict(stack.dev_chain(world.node, f"dev{i}"), endpoints=[{"name": "hole", "url": url}]) for i in range(7)]
    made = stack.Suite(tmp_path / "suite", world.redis.url, world.postgres.url, chains)
    status, said = checks(("fetcher",), made.config)["fetcher"]
    assert status == AWAY and all(f"chain {chain['name']}, endpoint hole ({url}" in said for chain in chains), (status, said)


def health(name, config, address=None, **env):
    """(status, the line it prints) of --health; address: where the program's listener is said to be."""
    given = {f"WEIR_OPS_LISTEN_{name.upper()}": address} if address else {}
    said = call(name, "--config", str(config), "--health", env=given | env)
    assert said.stderr == "" and said.stdout.count("\n") == 1, said
    return said.returncode, said.stdout


def test_health_of_a_program_that_is_well(suite):
    made = suite()
    for name in stack.SERVICES:
        status, said = health(name, made.config, http_proxy="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1")
        assert status == OK and f'"status":"ok","process":"{name}"' in said, said
        for host in ("0.0.0.0", "[::]", "localhost"):
            assert health(name, made.config, f"{host}:{made.ops[name]}")[0] == OK, host
    status, said = health("fetcher", made.config, f"127.0.0.1:{made.ops['gateway']}")
    assert status == 1 and "not by weir-fetcher" in said, said
    process = made.processes["fetcher"]
    process.stop()
    status, said = health("fetcher", made.config)
    assert status == 1 and f"http://127.0.0.1:{made.ops['fetcher']}/healthz" in said and "connect" in said.lower(), said


def test_health_of_a_program_that_is_stuck(suite, hole):
    """A main loop that has not moved for a minute is what /healthz answers 503 for; no real one is kept so long here."""
    class Stuck(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b'{"status":"stuck","process":"normalizer"}\nmore')

        def log_message(self, *_):
            pass

    config = suite(names=()).config
    status, said = health("normalizer", config, f"127.0.0.1:{hole}")
    assert status == 1 and "timed out" in said, said
    with http.server.HTTPServer(("127.0.0.1", 0), Stuck) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        status, said = health("normalizer", config, f"127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert status == 1 and said.endswith('answers 503: {"status":"stuck","process":"normalizer"}\n'), said


@pytest.mark.parametrize("name", stack.SERVICES)
def test_health_with_settings_that_are_wrong(name, tmp_path):
    config = tmp_path / "weir.yaml"
    config.write_text(f"postgres: {{url: 'host=db password={SECRET}'}}\nbus: {{passwort: {SECRET}}}\n")
    status, said = health(name, config)
    assert status == 1 and f"{config}:2:" in said and "passwort" in said and SECRET not in said, said
    config.write_text("")
    status, said = health(name, config, "127.0.0.1:0")
    assert status == 1 and f"ops.listen.{name}" in said, said
    assert health(name, "/nowhere/weir.yaml")[0] == 1


# ---- signals -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(suite, number):
    made = suite()
    for name, process in made.processes.items():
        process.send(number)
    for name, process in made.processes.items():
        assert process.wait(60) == OK, (name, process.tail())
        assert "event=stopped" in process.log.read_text()


@pytest.mark.parametrize("name", ["reconciler", "gateway"])
def test_a_drain_that_is_stuck_ends_with_its_own_status(world, suite, name):
    """A statement of this process waits for another session's lock: the process says so and goes when shutdown_timeout is over."""
    made = suite({"shutdown_timeout": "1s", "postgres": {"statement_timeout": "10m"}, "gateway": {"request_timeout": "10m"}})
    stack.wait_until("the ledger at the node's head", 60, lambda: (made.chain("dev")["watermark"] or {"height": -1})["height"] == world.node.height())
    asker = threading.Thread(target=request_and_forget, args=(f"{made.api}/v1/chains/dev/accounts/0x{'11' * 20}/entries",), daemon=True)
    holder = psycopg2.connect(world.postgres.url)
    try:
        with holder.cursor() as cursor:
            cursor.execute("lock table weir.blocks, weir.entries, weir.accounts in access exclusive mode")
            world.node.call("anvil_mine", "0x3")
            asker.start()
            waits = f"select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'weir-{name}%'"
            stack.wait_until("it holds a statement that cannot end", 60, lambda: world.postgres.query(waits) == [["t"]])
            process = made.processes[name]
            process.send(signal.SIGTERM)
            assert process.wait(30) == STUCK, process.tail()
    finally:
        holder.close()
    assert "shutdown_timeout" in process.log.read_text()
    asker.join(60)


def request_and_forget(url):
    with contextlib.suppress(OSError, http.client.HTTPException):
        stack.http_json(url, timeout=60)


@pytest.mark.parametrize("name", ["reconciler", "gateway"])
def test_a_database_that_says_nothing_holds_no_drain_up(world, suite, name):
    """Its processes are stopped, not gone: libpq would wait for them for ever."""
    made = suite({"postgres": {"statement_timeout": "1s", "connect_timeout": "2s"}, "gateway": {"request_timeout": "1s"}})
    frozen = list(descendants(world.postgres.process.pid))
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        world.node.call("anvil_mine", "0x3")
        if name == "gateway":
            status, _, _ = stack.http_json(f"{made.api}/v1/chains/dev/accounts/0x{'11' * 20}/entries", timeout=60)
            assert status in (503, 504)
        process = made.processes[name]
        process.send(signal.SIGTERM)
        assert process.wait(90) == OK, process.tail()
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def descendants(pid):
    """The process and its children, e.g. PostgreSQL's backends."""
    found = [pid]
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


# ---- operations listener -----------------------------------------------------------------------------------------------------------------


def test_operations_listener(suite):
    made = suite()
    for name in stack.SERVICES:
        base = f"http://127.0.0.1:{made.ops[name]}"
        assert stack.http_json(base + "/healthz")[0] == 200
        stack.wait_until(f"{name} has looked at what it needs", 60, lambda b=base: stack.http_json(b + "/readyz")[1]["checks"])
        status, body, _ = stack.http_json(base + "/readyz")
        assert status == 200, body
        metrics = made.metrics(name)
        assert any(series.startswith("weir_build_info") or series.startswith("process_") for series in metrics), list(metrics)[:5]
        assert stack.http_json(base + "/admin")[0] == 404
        assert stack.http_json(base + "/readyz", "POST", {})[0] == 405


def test_a_normalizer_is_not_ready_before_it_has_looked_at_redis(suite):
    """Asked as often as it can be, from before its first answer to the first that says ready."""
    made, answers = suite(names=()), []

    def ready():
        with contextlib.suppress(OSError):
            answers.append(stack.http_json(f"http://127.0.0.1:{made.ops['normalizer']}/readyz")[1])
        return answers and answers[-1]["ready"]

    with start("normalizer", "--config", str(made.config)) as process:
        try:
            stack.wait_until("ready", 60, ready, every=0)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert answers[-1]["checks"] == [{"name": "redis", "ok": True, "reason": ""}], answers[-3:]


@pytest.mark.parametrize("answering", [False, True])
def test_a_fetcher_is_not_ready_before_it_could_follow(world, suite, hole, answering):
    """Redis has answered, and the node not yet: another fetcher must not give way to this one. Asked as often as it can be, from before its first answer."""
    made, answers = suite(names=("reconciler",)), []
    chain = {} if answering else {"WEIR_CHAINS_0_ENDPOINTS_0_URL": f"http://127.0.0.1:{hole}"}

    def checks_of(answer):
        return {check["name"]: (check["ok"], check["reason"]) for check in answer["checks"]}

    def looked():
        with contextlib.suppress(OSError):
            answers.append(stack.http_json(f"http://127.0.0.1:{made.ops['fetcher']}/readyz")[1])
        return answers and (answers[-1]["ready"] if answering else checks_of(answers[-1])["redis dev"][0])

    with start("fetcher", "--config", str(made.config), env=chain) as process:
        try:
            stack.wait_until("it has looked", 60, looked, every=0)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    if answering:
        assert set(checks_of(answers[-1]).values()) == {(True, "")} and {"redis dev", "endpoints dev"} <= set(checks_of(answers[-1])), answers[-1]
    else:
        assert not any(answer["ready"] for answer in answers) and not checks_of(answers[-1])["endpoints dev"][0], answers[-3:]


def names_redis(made, name):
    status, body, _ = stack.http_json(f"http://127.0.0.1:{made.ops[name]}/readyz")
    return status == 503 and "redis" in json.dumps(body).lower()


def test_P10_readiness_follows_redis(world, suite):
    made = suite(names=("reconciler", "normalizer", "fetcher"))
    world.redis.kill()
    try:
        for name in made.processes:
            stack.wait_until(f"{name} not ready, for Redis", 60, lambda n=name: names_redis(made, n)) # what it did not hear may be named before
            assert stack.http_json(f"http://127.0.0.1:{made.ops[name]}/healthz")[0] == 200, "it waits; there is nothing to restart it for"
    finally:
        world.redis.start()
    for name in made.processes:
        stack.wait_until(f"{name} ready again", 60, lambda n=name: made.ready(n))


def test_P10_readiness_follows_redis_behind_a_full_stream(world, suite):
    made = suite({"bus": {"max_backlog": 100}}, names=("reconciler", "normalizer", "fetcher"))
    made.processes["reconciler"].stop()
    world.node.call("anvil_mine", "0x96")
    stack.wait_until("blocks wait for the reconciler", 60, lambda: made.metric("normalizer", "weir_bus_full_total") > 0)
    assert made.ready("normalizer"), "a slow consumer is not a reason to take the normalizer away"
    world.redis.kill()
    try:
        stack.wait_until("normalizer not ready, for Redis", 60, lambda: names_redis(made, "normalizer"))
    finally:
        world.redis.start()
    made.start(("reconciler", "gateway"))
    stack.wait_until("all that waited is in the ledger", 90, lambda: made.chain("dev")["head"]["height"] >= 150)


@pytest.mark.parametrize("kind", [stack.RedisCluster, stack.RedisSentinel])
def test_redis_as_cluster_and_behind_a_sentinel(world, tmp_path, kind):
    """Four chains, so that their slots lie on several nodes; one normalizer and one gateway have to do with all."""
    redis = kind(tmp_path / "redis").start()
    postgres = stack.Postgres(world.folder / f"postgres-{kind.__name__}").start()
    try:
        chains = [stack.dev_chain(world.node, name) for name in ("dev", "east", "north", "west")]
        made = stack.Suite(tmp_path / "suite", redis.url, postgres.url, chains).start()
        try:
            world.node.call("anvil_mine", "0x5")
            for chain in chains:
                stack.wait_until(f"{chain['name']} at the node's head", 60, lambda name=chain["name"]: (made.chain(name)["watermark"] or {"height": -1})[
                    "height"] == world.node.height())
            assert made.operate("POST", "/admin/v1/chains/west/refetch", {"from_height": 1})[0] == 202
            assert made.operate("GET", "/admin/v1/dlq")[1]["items"] == []
        finally:
            assert set(made.stop().values()) == {0}
    finally:
        postgres.stop()
        redis.stop()


# ---- logs and alerts ---------------------------------------------------------------------------------------------------------------------


def test_logs_as_json(suite):
    made = suite({"log": {"format": "json", "level": "debug"}})
    for name, process in made.processes.items():
        lines = process.log.read_text().splitlines()
        assert len(lines) >= 2
        for line in lines:
            said = json.loads(line)
            assert {"time", "level", "process", "event"} <= set(said) and said["process"] == name, line


@pytest.mark.parametrize("name", stack.SERVICES)
def test_P9_secrets_come_from_files_and_are_never_told(world, suite, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    made = suite({"log": {"level": "debug"}, "bus": {"password": f"file:{secret}", "username": "somebody"},
                  "postgres": {"url": f"{world.postgres.url} password={SECRET}"}, "gateway": {"keys": [{"name": "k", "key": SECRET, "role": "admin"}]}},
                 names=())
    if name == "gateway":  # it looks for Redis once the ledger has its chain
        suite(names=("reconciler",))
    made.start((name,), wait=0)
    process = made.processes[name]
    stack.wait_until("it has something to say about Redis", 60, lambda: "event=" in process.log.read_text() and (
        not process.alive() or "redis" in process.log.read_text().lower()))

    def told():
        """What it tells over HTTP, if it lives: it ends when Redis refuses it, which may be between any two of these lines."""
        if not process.alive():
            return "nothing"
        return json.dumps(made.metrics(name)) + json.dumps(stack.http_json(f"http://127.0.0.1:{made.ops[name]}/readyz")[1])
    assert SECRET not in stack.wait_until("answers, or its end", 60, told) + process.log.read_text()


def test_P10_an_alert_reaches_the_webhook_once(world, suite):
    posted = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    port = stack.free_port()
    try:
        suite({"alerts": {"webhook_url": f"http://127.0.0.1:{hook.server_port}/hook"}}, names=("fetcher",), wait=0,
              chain={"endpoints": [{"name": "dead", "url": f"http://127.0.0.1:{port}"}]})
        alert = stack.wait_until("the alert was posted", 60, lambda: posted and posted[0])
        assert "no endpoint answers" in alert["text"] and "dead" in alert["text"] and "chain-endpoints" in alert["text"], alert
        late = stack.anvil(world.folder / "late.log", "--port", str(port), *GENESIS)
        try:
            stack.wait_until("it was taken back", 60, lambda: len(posted) > 1)
            assert len(posted) == 2 and "endpoints answer" in posted[1]["text"], posted
        finally:
            late.stop()
    finally:
        hook.shutdown()
