"""The bytes of http1_cases.py to nginx, Node and HAProxy: what they answer, into http1_peers.json, which docs/http-conformance.md shows.

  http1_peers.py     asks those that are installed anew and keeps what is known of the others (make http-peers)

Each case is sent whole; three seconds later, or when the peer has closed, the connection is half-closed and what came is read. A peer serves every path
and method with 200 after reading the body. Cases that need weir's own WebSocket are left out.
"""
import collections
import hashlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from http1_cases import CASES, OK  # noqa: E402

FACTS = pathlib.Path(__file__).with_name("http1_peers.json")
AT_ONCE = 100
NODE = """const http = require("http");
const server = http.createServer((request, response) => { request.resume(); request.on("end", () => response.end("ok")); });
server.httpAllowHalfOpen = true;
server.listen(Number(process.argv[1]), "127.0.0.1");"""


def compared():
    """Cases by number, as the table has them."""
    return [(i, case) for i, case in enumerate(CASES) if b"/v1/ws" not in case.data]


def digest():
    return hashlib.sha256(b"\0".join(case.data for _, case in compared())).hexdigest()[:16]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx(folder, port):
    (folder / "nginx.conf").write_text(f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
events {{ }} http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
scgi_temp_path {folder}/s; server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }} }}""")
    return ["nginx", "-e", f"{folder}/log", "-c", f"{folder}/nginx.conf"]


def haproxy(folder, port):
    (folder / "haproxy.cfg").write_text(f"""defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 5s
  option http-buffer-request
frontend all
  bind 127.0.0.1:{port}
  http-request return status 200 content-type text/plain string ok
""")
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


PEERS = {"nginx": ("nginx", nginx, ["nginx", "-v"]), "Node": ("node", lambda _, port: ["node", "-e", NODE, str(port)], ["node", "-v"]),
         "HAProxy": ("haproxy", haproxy, ["haproxy", "-v"])}


def exchange(address, data):
    """Everything that came back."""
    got, until, told = b"", time.monotonic() + 3, False
    with socket.create_connection(address, 10) as s:
        try:
            s.sendall(data)
            while True:
                left = until - time.monotonic()
                if left <= 0 and told:
                    return got
                if left <= 0:
                    s.shutdown(socket.SHUT_WR)
                    until, told = time.monotonic() + 3, True
                    continue
                s.settimeout(left)
                try:
                    part = s.recv(65536)
                except TimeoutError:
                    continue
                if not part:
                    return got
                got += part
        except OSError: # refused and closed already
            return got


def unchunk(rest):
    at = 0
    while True:
        line = re.match(rb"([0-9a-fA-F]+)[^\r]*\r\n", rest[at:])
        if not line:
            return b""
        size = int(line[1], 16)
        at += line.end() + size + 2
        if size == 0:
            return rest[at:]


def statuses(data, bodiless):
    """[status], leniently read: it is another's server."""
    found = []
    while line := re.match(rb"HTTP/1\.[01] (\d{3})", data):
        head, _, rest = data.partition(b"\r\n\r\n")
        status = int(line[1])
        if status == 100:
            data = rest
            continue
        found.append(status)
        size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        chunked = re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head)
        data = rest if bodiless else unchunk(rest) if chunked else rest[int(size[1]):] if size else b""
    return found


def ask(address):
    answers, waiting, lock = {}, compared(), threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                number, case = waiting.pop()
            answers[number] = statuses(exchange(address, case.data), case.data.startswith(b"HEAD"))
    workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [tuple(answers[number]) for number, _ in compared()]


def often(address, times=3):
    """What was answered most often: a busy machine may lose an answer to a reset."""
    return [collections.Counter(answers).most_common(1)[0][0] for answers in zip(*(ask(address) for _ in range(times)))]


def judge(expected, answer):
    """same, though perhaps with another status or by closing; served: what weir refuses; missed: what weir serves."""
    good = [OK if status < 400 else "no" for status in answer]
    wanted = [OK if status == OK else "no" for status in expected]
    if good == wanted:
        return "same"
    if wanted and wanted[-1] == "no" and good == wanted[:-1]:
        return "same" # closed without a word
    return "served" if good.count(OK) > wanted.count(OK) else "missed"


def version(command):
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    return re.search(r"\d+\.\d+\.\d+", out.stdout + out.stderr)[0]


def main():
    facts = json.loads(FACTS.read_text(encoding="utf-8")) if FACTS.exists() else {}
    for name, (program, configure, asked) in PEERS.items():
        if not shutil.which(program):
            print(f"http1_peers: {name} is not installed: left as it is")
            continue
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            child = subprocess.Popen(configure(pathlib.Path(folder), port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for _ in range(200):
                    try:
                        socket.create_connection(("127.0.0.1", port), 1).close()
                        break
                    except OSError:
                        time.sleep(0.05)
                facts[name] = {"version": version(asked), "cases": digest(), "answers": often(("127.0.0.1", port))}
            finally:
                child.terminate()
                child.wait(10)
        verdicts = [judge(case.expected, answer) for (_, case), answer in zip(compared(), facts[name]["answers"])]
        print(f"http1_peers: {name} {facts[name]['version']}:", {v: verdicts.count(v) for v in ("same", "served", "missed")})
    lines = [f' "{name}": {{"version": "{peer["version"]}", "cases": "{peer["cases"]}",\n  "answers": {json.dumps(peer["answers"], separators=(",", ":"))}}}' for name, peer in sorted(facts.items())]
    FACTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
