"""What test_webhook_rebinding.py runs in a network of its own: a resolver whose answers change from question to question, one listener on every
address there is, and a gateway that is told to post to names that this resolver answers for. Ends with status 0 when no name led inside."""
import base64
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "stack"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from webhook_receiver import make_ca  # noqa: E402

PUBLIC, PUBLIC6, RESOLVER = "93.184.216.34", "2606:2800:220:1::1", "127.0.0.53"
PRIVATE = ["10.0.0.5", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "100.64.0.1"]
PRIVATE6 = ["::1", "fd00::1", "::ffff:10.0.0.5"]
A, CNAME, AAAA = 1, 5, 28


def run(*words):
    subprocess.run([str(w) for w in words], check=True)


def prepare(folder):
    """This network has one interface with all those addresses, and this process another resolver."""
    run("ip", "link", "set", "lo", "up")
    for address in [PUBLIC, *PRIVATE[:1], *PRIVATE[2:]]:
        run("ip", "addr", "add", address + "/32", "dev", "lo")
    for address in [PUBLIC6, "fd00::1"]:
        run("ip", "addr", "add", address + "/128", "dev", "lo", "nodad")
    for name, text in (("resolv.conf", f"nameserver {RESOLVER}\noptions timeout:2 attempts:3\n"), ("nsswitch.conf", "hosts: dns\n"), ("hosts", "")):
        (folder / name).write_text(text)
        target = pathlib.Path("/etc") / name
        if target.exists():
            run("mount", "--bind", folder / name, target.resolve())


class Resolver:
    """answers[name] is a list: what the first, second, … lookup of it is told; the last holds on. Each is a list of addresses, or a name (an alias)."""

    def __init__(self):
        self.answers, self.asked, self.lock = {}, {}, threading.Lock()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def lookups(self, name):
        """How often it was looked up. (A retransmission counts, too.)"""
        with self.lock:
            return self.asked.get((name, A), 0)

    def serve(self):
        while True:
            question, client = self.socket.recvfrom(1500)
            self.socket.sendto(self.answer(question), client)

    def answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
            at += 1 + question[at]
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        name, rest = ".".join(labels), question[12:at + 5]
        with self.lock:
            turn = self.asked.get((name, kind), 0)
            self.asked[name, kind] = turn + 1
        told = self.answers.get(name)
        records = []
        if told is not None:
            found = told[min(turn, len(told) - 1)]
            if isinstance(found, str):
                alias = b"".join(bytes([len(label)]) + label.encode() for label in found.split(".")) + b"\0"
                records.append(b"\xc0\x0c" + struct.pack(">HHIH", CNAME, 1, 0, len(alias)) + alias)
                owner, found = alias, self.answers[found][0]
            else:
                owner = b"\xc0\x0c"
            for address in found:
                family = AAAA if ":" in address else A
                if family == kind:
                    data = socket.inet_pton(socket.AF_INET6 if family == AAAA else socket.AF_INET, address)
                    records.append(owner + struct.pack(">HHIH", family, 1, 0, len(data)) + data)
        flags = 0x8580 if told is not None else 0x8583 # NXDOMAIN
        return question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + rest + b"".join(records)


class Everywhere:
    """Listens on one port of every address, and knows which address each connection came to."""

    def __init__(self, port, certificate=None):
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.reached = []
        self.socket = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            self.reached.append(connection.getsockname()[0].removeprefix("::ffff:"))
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        """One request for each connection, so that each delivery looks its name up and connects anew."""
        connection.settimeout(60)
        try:
            with self.context.wrap_socket(connection, server_side=True) if self.context else connection as stream:
                got = b""
                while b"}}" not in got and (more := stream.recv(65536)):
                    got += more
                if got:
                    path = got.split(b" ")[1].decode()
                    status = f"{path[1:]} Elsewhere\r\nLocation: https://inside.hooks.example/" if path[1:].isdigit() else "200 OK"
                    stream.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        except (OSError, IndexError):
            pass

    def inside(self):
        return [address for address in self.reached if address not in (PUBLIC, PUBLIC6)]


class Scene:
    def __init__(self, folder):
        ca, certificate = make_ca(folder, "DNS:*.hooks.example")
        self.resolver, self.tls, self.plain = Resolver(), Everywhere(443, certificate), Everywhere(80)
        self.stores = Stores(folder)
        key = base64.b64encode(os.urandom(32)).decode()
        self.gateway = self.stores.gateway({"webhooks": {"encryption_key": key, "ca_file": str(ca), "timeout": "10s", "retry_schedule": "10ms", "breaker_failures": 100}})

    def operate(self, method, path, body=None):
        return self.gateway.operate(method, "webhooks" + path, body)[:2]

    def register(self, name, answers, path="/hook"):
        self.resolver.answers[name] = answers
        status, hook = self.operate("POST", "", {"url": f"https://{name}{path}", "topic": "blocks", "chain": "dev"})
        return hook["id"] if status == 200 else hook

    def deliver(self, *hooks):
        """Posts a test message to each: for each (delivered, what was said of the last try)."""
        sent = []
        for hook in hooks:
            status, answer = self.operate("POST", f"/{hook}/test", {})
            assert status == 200, answer
            sent.append(answer["delivery"])

        def over(hook, delivery):
            told = self.operate("GET", f"/{hook}/deliveries/{delivery}")[1]
            return told if told["state"] in ("delivered", "failed") else None
        told = [stack.wait_until(f"a delivery of {hook}", 60, lambda h=hook, d=delivery: over(h, d)) for hook, delivery in zip(hooks, sent)]
        return [(one["state"] == "delivered", one["last_error"] or "") for one in told]


def names_that_turn(scene):
    """Public when it is registered, and somewhere inside when something is to be sent: nothing is sent."""
    later = [[address] for address in [*PRIVATE, *PRIVATE6, "0.0.0.0"]]
    later += [[PUBLIC, "10.0.0.5"], [PUBLIC6, "192.168.1.1"], [PUBLIC, "fd00::1"], "inside.hooks.example"]
    hooks = [scene.register(f"turns{i}.hooks.example", [[PUBLIC], answer]) for i, answer in enumerate(later)]
    assert all(isinstance(hook, int) for hook in hooks), hooks
    for answer, (delivered, why) in zip(later, scene.deliver(*hooks)):
        assert not delivered and "may not go" in why, (answer, why)


def names_that_lead_inside_at_once(scene):
    scene.resolver.answers["inside.hooks.example"] = [["10.0.0.5"]]
    for i, answer in enumerate((["10.0.0.5"], [PUBLIC, "10.0.0.5"], ["10.0.0.5", PUBLIC6], "inside.hooks.example")):
        refused = scene.register(f"leads{i}.hooks.example", [answer])
        assert isinstance(refused, dict) and refused["code"] == "refused_address", refused


def one_lookup_for_each_try(scene):
    """Public for the gateway's own look, and inside for anybody who looked again: nobody does, and the message goes where the look said."""
    name = "steady.hooks.example"
    hook, by_six = scene.register(name, [[PUBLIC], [PUBLIC], ["10.0.0.5"]]), scene.register("six.hooks.example", [[PUBLIC6]])
    assert (said := scene.deliver(hook, by_six)) == [(True, "")] * 2, said
    assert scene.resolver.lookups(name) == 2 and {PUBLIC, PUBLIC6} <= set(scene.tls.reached)
    (delivered, why), = scene.deliver(hook)
    assert not delivered and "may not go" in why, why


def redirects_are_not_followed(scene):
    hooks = [scene.register(f"redirects{status}.hooks.example", [[PUBLIC]], f"/{status}") for status in (301, 302, 303, 307, 308)]
    before = scene.resolver.lookups("inside.hooks.example")
    for delivered, why in scene.deliver(*hooks):
        assert not delivered and "redirects are not followed" in why, why
    assert scene.resolver.lookups("inside.hooks.example") == before, "it was not even looked up"


def main():
    folder = pathlib.Path(sys.argv[1])
    prepare(folder)
    scene = Scene(folder)
    try:
        for part in (names_that_lead_inside_at_once, one_lookup_for_each_try, names_that_turn, redirects_are_not_followed):
            began = time.monotonic()
            part(scene)
            assert not scene.tls.inside() and not scene.plain.reached, (scene.tls.inside(), scene.plain.reached)
            print(f"{part.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        assert scene.tls.reached.count(PUBLIC) >= 6, scene.tls.reached
    finally:
        scene.stores.stop()


if __name__ == "__main__":
    main()
