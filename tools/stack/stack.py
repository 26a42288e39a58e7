"""A whole weir on one machine: private Redis and PostgreSQL, a real node, the four services. Used by demo, tests, bench and torture.

Everything is started in a folder of its own, bound to 127.0.0.1 or a Unix socket, and stopped by process id. Nothing outside is touched.
"""
import contextlib
import ctypes
import errno
import fcntl
import glob
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import guard

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHAIN_LAB = ROOT / "tests" / "support" / "chain"
SERVICES = ("reconciler", "normalizer", "fetcher", "gateway")
ADMIN_KEY = "weir-local-admin-key-0123456789"
PATIENCE = float(os.environ.get("WEIR_PATIENCE", "1"))  # so many times as long as on a calm machine may everything take that is waited for


def wait_until(what, seconds, predicate, every=0.05):
    """Polls until predicate() is true (its value is returned); says what it waited for when time is up."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = predicate()
            if value:
                return value
        except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s" + (f" ({last})" if last else ""))
        time.sleep(every)


_given, _ports_file = set(), []


def free_port():
    """A port that nobody listens on, for a server that is yet to start. Below those that the kernel gives to outgoing connections: one of them could
    take it first, or while the server restarts. As long as this process lives it is nobody else's: a lock on a byte of a file that all processes share."""
    if not _ports_file:
        _ports_file.append(os.open(f"{tempfile.gettempdir()}/weir-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    first_outgoing = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(10000 if first_outgoing > 20000 else 0):
        port = random.randrange(10000, first_outgoing)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            fcntl.lockf(_ports_file[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            if port not in _given:
                _given.add(port)
                return port
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def http_json(url, method="GET", body=None, headers=None, timeout=60):
    """(status, parsed body or None, headers). Never raises for an HTTP status."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null"), dict(answer.headers)
    except urllib.error.HTTPError as error:
        raw = error.read()
        try:
            return error.code, json.loads(raw or b"null"), dict(error.headers)
        except ValueError:
            return error.code, None, dict(error.headers)


class Process:
    """One child process with its log file."""

    def __init__(self, name, command, log, env=None, cwd=None, stdout=None):
        self.name, self.command, self.log = name, [str(c) for c in command], pathlib.Path(log)
        self.env, self.cwd, self.stdout, self.child = env, cwd, stdout, None

    def start(self):
        log = open(self.log, "ab")
        environment = dict(os.environ, **(self.env or {}))
        self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.stdout or log, stderr=log, env=environment,
                                      cwd=self.cwd, start_new_session=True)
        log.close()
        guard.watch(self.child.pid)
        return self

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def send(self, number):
        if self.alive():
            self.child.send_signal(number)

    def stop(self, seconds=35, number=15):  # SIGTERM; the module's name is hidden by the method above
        """Asks, waits, kills. Returns the exit status (negative: the signal)."""
        if self.child is None:
            return None
        self.send(signal.SIGCONT)
        self.send(number)
        return self.wait(seconds)

    def wait(self, seconds=35):
        """Waits for the end; kills what does not end in time."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.child.returncode

    def check_sanitizers(self):
        """A build with sanitizers writes what it found into the log, and may go on."""
        text = self.log.read_text(errors="replace")
        found = re.search(r"(ERROR: AddressSanitizer|ERROR: LeakSanitizer|WARNING: ThreadSanitizer|: runtime error: ).*", text)
        if found:
            raise AssertionError(f"{self.name}: {text[found.start():found.start() + 6000]}")

    def kill(self):
        if self.child is not None:
            self.send(signal.SIGKILL)
            self.child.wait()

    def tail(self, lines=15):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Redis:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="weir-"))
        self.socket = self.sockets / "redis"
        self.url = f"unix://{self.socket}"
        self.process = None

    def start(self):
        self.process = Process("redis", ["redis-server", "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--save", "",
                                         "--appendonly", "yes", "--appendfsync", "everysec", "--dir", self.folder,
                                         "--maxmemory-policy", "noeviction"], self.folder / "redis.log").start()
        wait_until("Redis", 60, self.ping)
        return self

    def command(self, *words):
        """One command, raw reply line: enough for PING, FLUSHALL and the like."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(self.socket))
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words))
            return s.recv(65536).decode(errors="replace")

    def ping(self):
        return self.command("PING").startswith("+PONG")

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.stop(10)
        shutil.rmtree(self.sockets, ignore_errors=True)


class RedisCluster:
    """Three masters; the chains' slots are spread over them by their names."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ports = [free_port() for _ in range(3)]
        self.processes = []
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def start(self):
        for port in self.ports:
            data = self.folder / str(port)
            data.mkdir(parents=True, exist_ok=True)
            self.processes.append(Process("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port",
                                                    str(free_port()), "--cluster-node-timeout", "2000", "--save", "", "--appendonly", "yes", "--dir", data,
                                                    "--maxmemory-policy", "noeviction"], data / "redis.log").start())
        hosts = [f"127.0.0.1:{port}" for port in self.ports]

        def made():
            return subprocess.run(["redis-cli", "--cluster", "create", *hosts, "--cluster-yes"], capture_output=True, check=False).returncode == 0

        def agreed():
            return all("cluster_state:ok" in subprocess.run(["redis-cli", "-p", str(port), "CLUSTER", "INFO"], capture_output=True, text=True,
                                                            check=False).stdout for port in self.ports)
        wait_until("the cluster is made", 60, made, every=0.5)
        wait_until("its nodes agree", 60, agreed)
        return self

    def stop(self):
        for process in self.processes:
            process.stop(10)


class RedisSentinel:
    """One master, and one sentinel that knows it as "weir"."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.master, self.port = free_port(), free_port()
        self.processes = []
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/weir"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes.append(Process("redis", ["redis-server", "--port", str(self.master), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir",
                                                self.folder, "--maxmemory-policy", "noeviction"], self.folder / "redis.log").start())
        settings = self.folder / "sentinel.conf"
        settings.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nsentinel monitor weir 127.0.0.1 {self.master} 1\n")
        self.processes.append(Process("sentinel", ["redis-server", settings, "--sentinel"], self.folder / "sentinel.log").start())

        def known():
            return str(self.master) in subprocess.run(["redis-cli", "-p", str(self.port), "SENTINEL", "get-master-addr-by-name", "weir"], capture_output=True,
                                                      text=True, check=False).stdout
        wait_until("the sentinel knows the master", 60, known)
        return self

    def stop(self):
        for process in reversed(self.processes):
            process.stop(10)


class Postgres:
    """A private cluster. PostgreSQL refuses to run as root, so root becomes user postgres."""

    def __init__(self, folder, settings=()):
        self.bin = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.settings = list(settings)
        self.root = os.geteuid() == 0
        self.folder = pathlib.Path(folder)
        self.log = self.folder.parent / "postgres.log"
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="weir-"))
        self.borrowed = self.root and not self._reachable()
        if self.borrowed:  # a folder below /root is closed to user postgres
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-pg-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.url = f"host={self.sockets} user=weir dbname=weir"
        self.process = None
        if self.root:
            for path in (self.folder, self.sockets):
                os.chown(path, pwd.getpwnam("postgres").pw_uid, -1)
        os.chmod(self.sockets, 0o755)

    def _reachable(self):
        path = self.folder
        while path != path.parent:
            if path.exists() and not path.stat().st_mode & 0o001:
                return False
            path = path.parent
        return True

    def _as(self):
        drop = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=-all", "--reset-env"] if self.root else []
        return ["setpriv", *drop, "--pdeathsig", "INT", "--"]

    def start(self):
        if not (self.data / "PG_VERSION").exists():
            subprocess.run([*self._as(), self.bin / "initdb", "-D", self.data, "--no-sync", "-A", "trust", "-U", "weir", "-E", "UTF8",
                            "--locale=C.UTF-8"], check=True, cwd="/", stdout=subprocess.DEVNULL)
        (self.data / "postmaster.pid").unlink(missing_ok=True) if not self._lives() else None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        settings = ["listen_addresses=", "unix_socket_permissions=0777", "shared_buffers=256MB", "max_wal_size=4GB", *self.settings]
        flags = [part for setting in settings for part in ("-c", setting)]
        self.process = Process("postgres", [*self._as(), self.bin / "postgres", "-D", self.data, "-k", self.sockets, *flags], self.log, cwd="/").start()
        wait_until("PostgreSQL", 60, self.up)
        subprocess.run([self.bin / "createdb", "-h", str(self.sockets), "-U", "weir", "weir"], stderr=subprocess.DEVNULL, check=False, cwd="/")
        return self

    def _lives(self):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            return "(postgres)" in stat and ") Z " not in stat
        return False

    def up(self):
        return subprocess.run([self.bin / "pg_isready", "-q", "-h", str(self.sockets), "-U", "weir", "-d", "postgres"], check=False,
                              cwd="/").returncode == 0

    def query(self, sql, database="weir"):
        """Rows as lists of text, by psql: no driver needed."""
        out = subprocess.run([self.bin / "psql", "-XAtq", "-F", "\t", "-d", self.url.replace("dbname=weir", f"dbname={database}"), "-v", "ON_ERROR_STOP=1", "-c", sql], check=True, cwd="/",
                             capture_output=True, text=True)
        return [line.split("\t") for line in out.stdout.splitlines()]

    def stop(self, how=signal.SIGINT):
        if self.process:
            self.process.stop(20, how)
        shutil.rmtree(self.sockets, ignore_errors=True)
        if self.borrowed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self, how=signal.SIGINT):
        self.process.stop(20, how)
        self.start()


class Disk:
    """A small disk of its own that can be filled to the last byte; only root may mount it, and not in every container."""
    KIND = "tmpfs"

    @classmethod
    def refused(cls):
        """Why this process may not mount one, or None. A mount that fails for any other reason is for __init__ to fall over."""
        if os.geteuid() != 0:
            return "only root may mount a small disk"
        libc, folder = ctypes.CDLL(None, use_errno=True), tempfile.mkdtemp(prefix="weir-disk-")
        try:
            if libc.mount(b"probe", folder.encode(), cls.KIND.encode(), 0, b"size=64k") == 0:
                libc.umount2(folder.encode(), 0)
            elif ctypes.get_errno() in (errno.EPERM, errno.EACCES):
                return f"root may not mount a small disk here (mount: {os.strerror(ctypes.get_errno())}): a container needs --privileged"
        finally:
            os.rmdir(folder)
        return None

    def __init__(self, mebibytes):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-disk-"))  # not below pytest's folder, which is closed to user postgres
        self.ballast = self.folder / "ballast"
        try:
            subprocess.run(["mount", "-t", self.KIND, "-o", f"size={mebibytes}m,mode=755", "tmpfs", self.folder], check=True)
        except subprocess.CalledProcessError:
            self.folder.rmdir()
            raise

    def fill(self):
        with open(self.ballast, "ab", buffering=0) as f:
            for size in (1 << 20, 4096):
                try:
                    while f.write(bytes(size)) == size:
                        pass
                except OSError:
                    pass

    def free(self):
        self.ballast.unlink(missing_ok=True)

    def stop(self):
        subprocess.run(["umount", "-l", self.folder], check=False)
        self.folder.rmdir()


class Node:
    """A program of tests/support/chain that prints one JSON line when it is ready (anvil.mjs, faultproxy.mjs)."""

    def __init__(self, program, arguments, log):
        self.process = Process(program, ["node", CHAIN_LAB / f"{program}.mjs", *arguments], log, stdout=subprocess.PIPE)
        self.facts = None

    def start(self):
        self.process.start()
        line = self.process.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.name} did not start: {self.process.tail()}")
        self.facts = json.loads(line)
        return self

    @property
    def rpc(self):
        return self.facts["rpc"]

    @property
    def ws(self):
        return self.facts["ws"]

    def call(self, method, *params):
        _, body, _ = http_json(self.rpc, "POST", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}, timeout=60)
        if "error" in body:
            raise ValueError(f"{method}: {body['error']}")
        return body["result"]

    def height(self):
        return int(self.call("eth_blockNumber"), 16)

    def stop(self):
        self.process.stop(15)


def anvil(log, *arguments):
    return Node("anvil", arguments, log).start()


def yaml_of(value, indent=0):
    """Enough YAML for our settings: mappings, lists of mappings, scalars."""
    pad, out = "  " * indent, ""
    for key, item in value.items():
        if isinstance(item, dict):
            out += f"{pad}{key}:\n{yaml_of(item, indent + 1)}"
        elif isinstance(item, list):
            out += f"{pad}{key}:\n" if item else f"{pad}{key}: []\n"
            for element in item:
                lines = yaml_of(element, indent + 2).splitlines()
                out += f"{pad}  - {lines[0].strip()}\n" + "".join(line + "\n" for line in lines[1:])
        elif isinstance(item, bool):
            out += f"{pad}{key}: {'true' if item else 'false'}\n"
        else:
            out += f"{pad}{key}: {json.dumps(str(item))}\n"
    return out


def merge(base, more):
    """Both as one, `more` where they differ; neither is changed."""
    return {**base, **{key: merge(base.get(key, {}), value) if isinstance(value, dict) else value for key, value in more.items()}}


class Suite:
    """The four services with one configuration file. Ports are free ones, the same over restarts of a service. patient: the gateway refuses nobody for
    being busy, since tests share their machine with others and ask for answers, not for haste."""

    def __init__(self, folder, redis_url, postgres_url, chains, settings=None, bin_dir=None, patient=True):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bin = pathlib.Path(bin_dir or os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
        self.ops = {name: free_port() for name in SERVICES}
        self.api_port, self.admin_port = free_port(), free_port()
        self.chains = chains
        config = {
            "log": {"level": "info"},
            "ops": {"listen": {name: f"127.0.0.1:{port}" for name, port in self.ops.items()}},
            "bus": {"redis_url": redis_url},
            "postgres": {"url": postgres_url},
            "gateway": {"drain": "1s", "listen": f"127.0.0.1:{self.api_port}", "admin_listen": f"127.0.0.1:{self.admin_port}",
                        "keys": [{"name": "local", "key": ADMIN_KEY, "role": "admin"}]},
            "chains": chains,
        }
        if patient:
            config["gateway"]["shed_after"] = "0s"
        self.config = self.folder / "weir.yaml"
        self.config.write_text(yaml_of(merge(config, settings or {})))
        self.processes = {}

    def start(self, names=SERVICES, wait=120):
        for name in names:
            self.processes[name] = Process(name, [self.bin / f"weir-{name}", "--config", self.config], self.folder / f"{name}.log").start()
        for name in names if wait else ():
            wait_until(f"weir-{name} ready (log: {self.folder / name}.log)", wait, lambda n=name: self.ready(n) or self._dead(n))
        return self

    def _dead(self, name):
        process = self.processes[name]
        if not process.alive():
            raise RuntimeError(f"weir-{name} ended with status {process.child.returncode}:\n{process.tail()}")
        return False

    def ready(self, name):
        return http_json(f"http://127.0.0.1:{self.ops[name]}/readyz", timeout=3)[0] == 200

    def metrics(self, name):
        """{'name{labels}': value}"""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops[name]}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}

    def metric(self, service, name, **labels):
        """Sum over the series of a name that have these labels."""
        total = 0.0
        for series, value in self.metrics(service).items():
            if re.split(r"[{ ]", series)[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total += value
        return total

    @property
    def api(self):
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def admin(self):
        return f"http://127.0.0.1:{self.admin_port}"

    def get(self, path, timeout=60):
        return http_json(self.api + path, timeout=timeout)

    def operate(self, method, path, body=None, key=ADMIN_KEY, timeout=60):
        return http_json(self.admin + path, method, body, {"Authorization": f"Bearer {key}"} if key else {}, timeout)

    def chain(self, name):
        status, body, _ = self.get(f"/v1/chains/{name}")
        if status != 200:
            raise ValueError(f"/v1/chains/{name}: {status} {body}")
        return body

    def stop(self):
        """SIGTERM to all, last first; returns {name: exit status}."""
        for name in reversed(list(self.processes)):
            self.processes[name].send(signal.SIGCONT)
            self.processes[name].send(signal.SIGTERM)
        statuses = {name: process.wait() for name, process in self.processes.items()}
        for process in self.processes.values():
            process.check_sanitizers()
        return statuses


def dev_chain(node, name="dev", endpoints=None, **more):
    """Configuration of an anvil node as one chain."""
    return {"name": name, "family": "evm", "profile": "dev", "chain_id": 31337, "poll_interval": "100ms", "window": 512,
            **more, "endpoints": endpoints or [{"name": "a", "url": node.rpc, "ws_url": node.ws}]}
