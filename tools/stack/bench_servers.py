"""Servers and clients of make bench-gateway: each server is one process on one core, and its CPU is read from the kernel's own clock of it."""
import json
import os
import pathlib
import shutil
import subprocess
import time

from stack import ROOT, free_port, wait_until

SERVERS = ROOT / "tests" / "bench" / "servers"
SERVER_CORE, CLIENT_CORES = 0, set(range(1, os.cpu_count())) or {0}


def pin(pid, cores):
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:
            pass


def cpu_us(pid):
    """User and system time of all threads, those that ended too (CLOCK_PROCESS_CPUTIME_ID of another process, clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2) * 1e6


def resident_kb(pid):
    return int(next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")).split()[1])


def on_clients_cores():
    os.sched_setaffinity(0, CLIENT_CORES)


class Server:
    """Something that listens: address, pid, stop(). Pinned to the servers' core."""

    def __init__(self, address, pid, stop, tell=None):
        self.address, self.pid, self.stop, self.tell = address, pid, stop, tell
        pin(pid, {SERVER_CORE})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def end(child):
    child.terminate()
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def javascript(program, *arguments):
    """A server of tests/bench/servers/server.mjs under node or bun; None where that is absent."""
    runtimes = {"node": shutil.which("node"), "bun": SERVERS / "node_modules/@oven/bun-linux-x64-baseline/bin/bun"}
    if os.environ.get("BENCH_PEERS") == "0" or not runtimes[program]:
        return None
    if not (SERVERS / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=SERVERS, check=True, stdout=subprocess.DEVNULL)
    if not pathlib.Path(runtimes[program]).exists():
        return None
    child = subprocess.Popen([runtimes[program], "server.mjs", *arguments], cwd=SERVERS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = json.loads(child.stdout.readline())["port"]

    def tell(n):
        child.stdin.write(f"{n}\n")
        child.stdin.flush()
    return Server(f"127.0.0.1:{port}", child.pid, lambda: end(child), tell)


def nginx(folder, answer, size):
    """A static answer at /; with nchan WebSockets at /sub, and POST /pub sends to all of them. None where nginx is absent."""
    if os.environ.get("BENCH_PEERS") == "0" or not shutil.which("nginx"):
        return None
    module, port = pathlib.Path("/usr/lib/nginx/modules/ngx_nchan_module.so"), free_port()
    nchan = "location /sub { nchan_subscriber websocket; nchan_channel_id all; } location /pub { nchan_publisher; nchan_channel_id all; nchan_message_buffer_length 0; }"
    (folder / "nginx.conf").write_text(f"""{f'load_module {module};' if module.exists() else ''}
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_rlimit_nofile 20000;
events {{ worker_connections 19900; }}
http {{ access_log off; keepalive_requests 100000000; default_type application/json; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{answer}'; }} {nchan if module.exists() else ''} }} }}""")
    child = subprocess.Popen(["nginx", "-e", f"{folder}/nginx.log", "-c", f"{folder}/nginx.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worker = wait_until("nginx's worker", 10, lambda: pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split())

    def tell(n):
        for _ in range(n):
            subprocess.run(["curl", "-s", "-o", "/dev/null", "--data", "x" * size, f"http://127.0.0.1:{port}/pub"], check=True)
    server = Server(f"127.0.0.1:{port}", int(worker[0]), lambda: end(child), tell if module.exists() else None)
    wait_until("nginx", 10, lambda: subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://{server.address}/"], check=False).returncode == 0)
    return server


class Clients:
    """tests/bench/ws_clients.c: all open when this returns."""

    def __init__(self, program, server, path, count, message=None, extension=None):
        command = [program, server.address, path, str(count), message or "", extension or ""]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=on_clients_cores)
        if not self.child.stdout.readline():
            raise RuntimeError(f"{count} WebSockets to {server.address} could not be opened")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(60)

    def ask(self):
        """What came since the last time."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())
