"""What a cluster does with the chart, without one: network namespaces on a bridge, pods in root file systems of their own with the chart's user,
mounts, variables, limits, probes and network policies, and the chart's own names, ports and secrets. As root, on one machine.

Root file systems: of the images where WEIR_ROOTS has them (tools/images), else put together from this machine as docker/Dockerfile does.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.request

import stack
import yaml
from chart import component, of, selects
from conftest import ROOT

BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))
HERE = ROOT / "tests" / "deploy"
NODE = "10.77.0.1"  # where kubelets probe from: no policy is for them
PODS = "10.77.0.0/16"
STORES = {"weir-redis": "10.77.0.2", "weir-postgresql": "10.77.0.3", "anvil": "10.77.0.4"}
GROUPS = pathlib.Path("/sys/fs/cgroup")
NEW_NETWORK = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def impossible():
    """Why pods cannot be run here, or None."""
    if os.geteuid() != 0:
        return "only root may make namespaces and mounts"
    for program in ("ip", "iptables-restore", "nsenter"):
        if not shutil.which(program):
            return f"{program} is not installed: run tools/deps deploy"
    probe = ("ip link add name pods type bridge && ip link add name pod0 type veth peer name eth0 && mount -t tmpfs none /mnt && "
             "printf '*filter\\n-A INPUT -p tcp ! --syn -j ACCEPT\\nCOMMIT\\n' | iptables-restore")
    out = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return None if out.returncode == 0 else f"this machine does not let us: {out.stderr.strip()[-200:]}"


def memory_file():
    """What a control group that is made here has to limit its memory, or None where nobody can: there is no such file system, it may not be written to,
    or its memory is not handed on."""
    folder, name = (GROUPS, "memory.max") if (GROUPS / "cgroup.controllers").exists() else (GROUPS / "memory", "memory.limit_in_bytes")
    probe = folder / f"weir-{os.getpid()}-probe"
    try:
        probe.mkdir()
    except OSError:
        return None
    try:
        with open(probe / name, "r+", encoding="ascii") as file:
            file.write(str(1 << 30))
        return name
    except OSError:
        return None
    finally:
        probe.rmdir()


@contextlib.contextmanager
def network():
    """This thread, and whatever it starts, in a network of its own with a bridge for pods; stores have their own addresses on it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    try:
        # A hardware address of its own: else the bridge's changes as pods come and go, and peers talk to the old one for a while.
        for command in ("link set lo up", "link add name pods address 02:77:00:00:00:01 type bridge", f"addr add {NODE}/16 dev pods", "link set pods up",
                        *(f"addr add {address}/16 dev pods" for address in STORES.values())):
            subprocess.run(["ip", *command.split()], check=True)
        yield
    finally:
        libc.setns(before, NEW_NETWORK)
        os.close(before)


def assembled(folder, service, programs=None):
    """What docker/Dockerfile puts into an image, from this machine: the programs (of that folder, else those under test), the libraries that they load, and bash,
    which Debian has."""
    given = None if programs else os.environ.get("WEIR_ROOTS")
    root = folder / service
    folder.mkdir(exist_ok=True)
    if given:
        subprocess.run(["cp", "-a", pathlib.Path(given) / service, root], check=True)
    else:
        for path in ("usr/local/bin", "etc/ssl", "tmp"):
            (root / path).mkdir(parents=True)
        for link in ("bin", "lib", "lib64"):
            (root / link).symlink_to(f"usr/{link}")
        binaries = [((programs or BIN) / f"weir-{service}", "usr/local/bin"), (BIN / "weirctl", "usr/local/bin"), (pathlib.Path("/bin/bash"), "usr/bin")]
        for source, target in binaries:
            (root / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / target / source.name)
            said = subprocess.run(["ldd", source], capture_output=True, text=True, check=True).stdout
            for library in re.findall(r"(/\S+)(?= \(0x)", said):
                where = root / "usr" / library.removeprefix("/usr").lstrip("/")
                if not library.startswith(("/usr/", "/lib")):  # of the build's own folder: the loader finds it with the others
                    where = root / "usr/lib/x86_64-linux-gnu" / pathlib.Path(library).name
                where.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, where)
        shutil.copytree("/etc/ssl/certs", root / "etc/ssl/certs")
        (root / "etc/passwd").write_text("root:x:0:0::/:/usr/sbin/nologin\nweir:x:10001:10001::/nonexistent:/usr/sbin/nologin\n")
        (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    # What a container runtime makes: places to mount on, and names of services.
    for path in ("proc", "dev", "etc/weir/secrets"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "etc/weir/weir.yaml").touch()
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in STORES.items()))
    return root


class Pod:
    """A running one: its process (pid), the launcher (launcher) and its address."""

    def __init__(self, name, labels, container, environment, address, launcher, pid, log, groups):
        self.name, self.labels, self.container, self.environment, self.address = name, labels, container, environment, address
        self.launcher, self.pid, self.log, self.groups = launcher, pid, log, groups

    def alive(self):
        return self.launcher.poll() is None

    def send(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds):
        status = self.launcher.wait(seconds)
        for group in self.groups:
            with contextlib.suppress(OSError):
                group.rmdir()
        return status

    def ends(self, seconds):
        """Told to end as a cluster tells it; its exit status. More than the grace is an error."""
        self.send(15)
        return self.wait(seconds)

    def said(self):
        return self.log.read_text(errors="replace")[-3000:]

    def inside(self, *command):
        """Runs a program of the pod's own files inside it and with its variables, as kubectl exec would."""
        user = re.search(r"^Uid:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text(), re.M).group(1)
        return subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "--root", "--wd", "-S", user, "-G", user, "--", *command],
                              env=self.environment, capture_output=True, text=True, check=False, timeout=30)

    def probe(self, which):
        """As kubelet does; True where it is content."""
        if not self.alive():
            raise RuntimeError(f"{self.name} ended with {self.launcher.returncode}: {self.said()}")
        with contextlib.suppress(OSError):
            return self.asked(self.container[which]["httpGet"]).status == 200
        return False

    def asked(self, get):
        port = next(port["containerPort"] for port in self.container["ports"] if port["name"] == get["port"])
        return urllib.request.urlopen(f"http://{self.address}:{port}{get['path']}", timeout=3)

    def version(self):
        return json.load(self.asked(self.container["livenessProbe"]["httpGet"]))["version"]


class Cluster:
    """The chart's objects as processes. Inside network()."""

    def __init__(self, objects, folder):
        self.objects, self.folder, self.count, self.pods, self.parts = objects, folder, 0, [], []
        self.use(None)
        self.running = {deployment["metadata"]["name"]: [] for deployment in self.deployments()}

    def use(self, programs):
        """Pods that start from now on have these programs; None: those under test."""
        place = self.folder / "roots" / (programs.parent.parent.name if programs else "now")
        place.parent.mkdir(exist_ok=True)
        self.roots = {service: place / service if (place / service).exists() else assembled(place, service, programs) for service in stack.SERVICES}

    def deployments(self):
        """In the order of ARCHITECTURE.md."""
        return sorted(of(self.objects, "Deployment"), key=lambda d: stack.SERVICES.index(component(d["metadata"]["labels"])))

    def named(self, kind, name):
        return next(o for o in self.objects if o["kind"] == kind and o["metadata"]["name"] == name)

    # ---- the stores: not ours, so as processes with the secrets of the chart ------------------------------------------------------------

    def stores(self):
        data = self.folder / "redis"
        data.mkdir()
        secret = self.named("Secret", "weir-redis")["stringData"]
        (data / "redis.conf").write_text(secret["redis.conf"].replace("dir /data", f"dir {data}") + f"\nbind {STORES['weir-redis']}\n")
        self.parts.append(stack.Process("redis", ["redis-server", data / "redis.conf"], data / "log").start())
        url = self.named("Secret", "weir-postgresql")["stringData"]
        given = self.named("StatefulSet", "weir-postgresql")["spec"]["template"]["spec"]["containers"][0]["args"]
        assert given[0] == "postgres" and set(given[1::2]) == {"-c"}, given
        self.postgres = stack.Postgres(self.folder / "postgres", [*given[2::2], f"listen_addresses={STORES['weir-postgresql']}"]).start()
        self.parts.append(self.postgres)
        self.postgres.query(f"alter role weir password '{url['password']}'")
        with open(self.postgres.data / "pg_hba.conf", "a", encoding="ascii") as f:
            f.write(f"host all all {PODS} scram-sha-256\n")
        self.postgres.query("select pg_reload_conf()")
        anvil = stack.CHAIN_LAB / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
        junk = " ".join(["test"] * 11 + ["junk"])
        self.parts.append(stack.Process("anvil", [anvil, "--host", STORES["anvil"], "--port", "8545", "--chain-id", "31337", "--accounts", "40", "--balance", "1000000",
                                                  "--mnemonic", junk, "--gas-limit", "60000000", "--order", "fifo", "--slots-in-an-epoch", "8", "--no-mining", "-q"],
                                        self.folder / "anvil.log").start())
        self.rpc = f"http://{STORES['anvil']}:8545"
        stack.wait_until("the node", 120, lambda: self.call("eth_blockNumber"))

    def call(self, method, *params):
        return stack.http_json(self.rpc, "POST", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}, timeout=60)[1]["result"]

    # ---- pods ---------------------------------------------------------------------------------------------------------------------------------

    def start(self, deployment):
        """One pod more of a deployment, and its network; not yet ready."""
        template = deployment["spec"]["template"]
        container = template["spec"]["containers"][0]
        self.count += 1
        name, address = f"{deployment['metadata']['name']}-{self.count}", f"10.77.1.{self.count}"
        place = self.folder / name
        (place / "secrets").mkdir(parents=True)
        user = template["spec"]["securityContext"]["runAsUser"]
        mounts = []
        for volume in template["spec"]["volumes"]:
            for item in volume.get("configMap", {}).get("items", []):
                (place / item["path"]).write_text(self.named("ConfigMap", volume["configMap"]["name"])["data"][item["key"]])
            for source in volume.get("projected", {}).get("sources", []):
                for item in source["secret"]["items"]:
                    file = place / "secrets" / item["path"]
                    file.write_text(self.named("Secret", source["secret"]["name"])["stringData"][item["key"]])
                    os.chown(file, 0, template["spec"]["securityContext"]["fsGroup"])
                    file.chmod(volume["projected"]["defaultMode"])
        for each in container["volumeMounts"]:
            assert each["readOnly"] and each["mountPath"] in ("/etc/weir/weir.yaml", "/etc/weir/secrets")
            mounts.append((str(place / ("weir.yaml" if "subPath" in each else "secrets")), each["mountPath"]))
        service = container["image"].rsplit("/", 1)[-1].split(":")[0].split("@")[0].removeprefix("weir-")
        groups, log = self.limits(name, container["resources"]["limits"]), place / "log"
        environment = {"PATH": "/usr/local/bin:/usr/bin", "HOSTNAME": name, **{v["name"]: v["value"] for v in container["env"]}}
        spec = {"name": name, "root": str(self.roots[service]), "mounts": mounts, "user": user, "log": str(log), "groups": [str(g) for g in groups],
                "command": [f"/usr/local/bin/weir-{service}", *container.get("args", [])], "environment": environment}
        (place / "pod.json").write_text(json.dumps(spec))
        launcher = subprocess.Popen([sys.executable, HERE / "pod.py", place / "pod.json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = launcher.stdout.readline()
        assert line.strip(), f"{name}: the launcher ended with {launcher.wait()}"
        pod = Pod(name, template["metadata"]["labels"], container, environment, address, launcher, int(line), log, groups)
        self.pods.append(pod)
        self.connect(pod)
        launcher.stdin.write("go\n")
        launcher.stdin.close()
        return pod

    def ready(self, deployment):
        """One more, ready as its probes say."""
        pod = self.start(deployment)
        for which in ("startupProbe", "readinessProbe", "livenessProbe"):
            stack.wait_until(f"{pod.name}: {which}", 180, lambda: pod.probe(which))
        return pod

    def limits(self, name, limits):
        """Control groups with the container's limits, of whichever kind this machine has; none where it lets nobody make any."""
        def number(text, units):
            unit = next((unit for unit in units if str(text).endswith(unit)), "")
            return int(float(str(text).removesuffix(unit)) * units.get(unit, 1))

        memory, cpu = number(limits["memory"], {"Mi": 1 << 20, "Gi": 1 << 30}), number(limits["cpu"], {"m": 100}) if str(limits["cpu"]).endswith("m") else \
            int(float(limits["cpu"]) * 100000)
        made = []
        with contextlib.suppress(OSError):
            if (GROUPS / "cgroup.controllers").exists():
                files = {GROUPS / f"weir-{os.getpid()}-{name}": {"memory.max": memory, "cpu.max": f"{cpu} 100000"}}
            else:
                files = {GROUPS / "memory" / f"weir-{os.getpid()}-{name}": {"memory.limit_in_bytes": memory},
                         GROUPS / "cpu" / f"weir-{os.getpid()}-{name}": {"cpu.cfs_quota_us": cpu}}
            for group, settings in files.items():
                group.mkdir()
                made.append(group)
                for file, value in settings.items():
                    (group / file).write_text(str(value))
        return made

    def connect(self, pod):
        """A cable to the bridge, then the policies."""
        cable = f"pod{self.count}"
        subprocess.run(["ip", "link", "add", "name", cable, "type", "veth", "peer", "name", "eth0", "netns", str(pod.pid)], check=True)
        subprocess.run(["ip", "link", "set", cable, "master", "pods", "up"], check=True)
        enter = ["nsenter", "-t", str(pod.pid), "-n"]
        for command in ("link set lo up", f"addr add {pod.address}/16 dev eth0", "link set eth0 up", f"route add default via {NODE}"):
            subprocess.run([*enter, "ip", *command.split()], check=True)
        subprocess.run([*enter, "iptables-restore"], input=self.filter(pod.labels), text=True, check=True)

    def filter(self, labels):
        """The network policies that select these labels, as the pod's own packet filter."""
        policies = [policy["spec"] for policy in of(self.objects, "NetworkPolicy") if selects(policy["spec"]["podSelector"], labels)]
        lines = ["*filter"]
        for chain, kind, way, who, interface in (("INPUT", "Ingress", "from", "-s", "-i"), ("OUTPUT", "Egress", "to", "-d", "-o")):
            closed = any(kind in policy["policyTypes"] for policy in policies)
            lines += [f":{chain} {'DROP' if closed else 'ACCEPT'} [0:0]", f"-A {chain} {interface} lo -j ACCEPT", f"-A {chain} -p tcp ! --syn -j ACCEPT"]
            if chain == "INPUT":
                lines.append(f"-A INPUT -s {NODE} -j ACCEPT")
            for policy in policies:
                for rule in policy.get(kind.lower(), []):
                    for address in {a for peer in rule.get(way, []) for a in self.addresses(peer)}:
                        lines += [f"-A {chain} {who} {address} -p {port['protocol'].lower()} --dport {port['port']} -j ACCEPT" for port in rule["ports"]]
        return "\n".join([*lines, "COMMIT", ""])

    def addresses(self, peer):
        """Whom a policy's peer means here; pods that come and go are nobody's peer but by an empty selector."""
        if "ipBlock" in peer:
            return [peer["ipBlock"]["cidr"]]
        if "namespaceSelector" in peer:
            return [PODS] if not peer["namespaceSelector"] else []  # there are no other namespaces
        wanted = peer["podSelector"].get("matchLabels", {})
        if not wanted:
            return [PODS]
        stores = {"weir-redis": {"app.kubernetes.io/component": "redis"}, "weir-postgresql": {"app.kubernetes.io/component": "postgresql"}, "anvil": {"app": "anvil"}}
        return [STORES[name] for name, label in stores.items() if label.items() <= wanted.items()]

    def done(self, job):
        """A job's only pod, to its end; its exit status and what it said."""
        pod = self.start(job)
        return pod.wait(120), pod.said()

    # ---- what a deployment's controller does -------------------------------------------------------------------------------------------------

    def up(self):
        for deployment in self.deployments():
            self.scale(deployment, deployment["spec"]["replicas"])

    def scale(self, deployment, replicas):
        pods = self.running[deployment["metadata"]["name"]]
        while len(pods) < replicas:
            pods.append(self.ready(deployment))
        while len(pods) > replicas:
            self.end(deployment, pods.pop())

    def end(self, deployment, pod):
        """SIGTERM at once (preStop only lets load balancers learn of it first), and an end within the grace period."""
        grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        status = pod.ends(grace)
        assert status == 0, f"{pod.name}: {status}: {pod.said()}"

    def roll(self, deployment):
        """The new one is ready before the old one goes: maxSurge 1, maxUnavailable 0."""
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        pods = self.running[deployment["metadata"]["name"]]
        for _ in range(len(pods)):
            pods.append(self.ready(deployment))
            self.end(deployment, pods.pop(0))

    def lose(self, deployment):
        """Each pod in turn dies and is replaced."""
        pods = self.running[deployment["metadata"]["name"]]
        for _ in range(len(pods)):
            pods[0].send(9)
            pods[0].wait(30)
            pods.pop(0)
            pods.append(self.ready(deployment))

    def gateways(self):
        """Addresses of the service weir-gateway."""
        return [f"http://{pod.address}:8080" for pod in self.running["weir-gateway"] if pod.alive()]

    def down(self):
        for pod in self.pods:
            pod.send(15)
        for pod in self.pods:
            try:
                pod.wait(60)
            except subprocess.TimeoutExpired:
                pod.send(9)
                pod.wait(10)
        for part in reversed(self.parts):
            part.stop()
