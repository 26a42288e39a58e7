"""Sends the cases of http1_cases.py to a server, whole, byte by byte and cut at every point, and compares what comes back.

  http1.py --table                     the table as Markdown, for docs/http-conformance.md
  http1.py HOST:PORT [--cuts N|all]    the run; N cuts of each case (0: only whole and byte by byte)
"""
import functools
import json
import pathlib
import re
import selectors
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import http1_peers  # noqa: E402
from http1_cases import CASES, OK  # noqa: E402

AT_ONCE = 48
SECONDS = 60 # for one exchange, however slow the machine is
SCHEMAS = json.loads((pathlib.Path(__file__).resolve().parents[2] / "services" / "gateway" / "api" / "openapi.json").read_text())["components"]["schemas"]
LONG = 2000 # bytes; cut at a few points only: what matters about them is their size


class Exchange:
    """One connection: pieces out, one per turn, then half-closed; everything in until the server closes."""

    def __init__(self, address, case, pieces, how):
        self.case, self.pieces, self.how, self.got = case, pieces, how, b""
        self.until = time.monotonic() + SECONDS
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def write(self):
        """False: all is said."""
        try:
            if self.pieces:
                piece = self.pieces.pop()
                sent = self.socket.send(piece)
                if sent < len(piece):
                    self.pieces.append(piece[sent:])
            if not self.pieces:
                self.end()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.pieces.append(piece)
        except OSError: # refused and closed already
            self.pieces = []
        return bool(self.pieces)

    def read(self):
        """False: the server closed."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            data = b""
        self.got += data
        return bool(data) and not (self.case.expected == (101,) and b"\r\n\r\n" in self.got)


class TlsExchange(Exchange):
    """The same through TLS; each piece is a record of its own."""

    def __init__(self, context, address, *rest):
        super().__init__(address, *rest)
        self.socket.settimeout(SECONDS)
        self.socket = context.wrap_socket(self.socket, server_hostname=address[0], do_handshake_on_connect=False)
        self.socket.do_handshake()
        self.socket.setblocking(False)

    def end(self):
        socket.socket.shutdown(self.socket, socket.SHUT_WR) # of the connection: an ssl.SSLSocket's own would go on in plain text

    def read(self):
        while (on := super().read()) and self.socket.pending():
            pass
        return on


def answers(data, methods):
    """[(status, code of the problem or None)], strictly read; raises ValueError."""
    found = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        line = re.fullmatch(rb"HTTP/1\.1 (\d{3}) ([ -~]*)", head.split(b"\r\n")[0])
        if not end or not line:
            raise ValueError(f"no answer: {data[:80]!r}")
        status, fields = int(line[1]), {}
        if status == 100:
            data = rest
            continue
        for field in head.split(b"\r\n")[1:]:
            name, _, value = field.partition(b": ")
            fields.setdefault(name.lower(), value)
        if status == 101:
            return found + [(status, None)]
        if b"x-request-id" not in fields or b"date" not in fields or b"x-content-type-options" not in fields:
            raise ValueError(f"a header is missing: {head!r}")
        size = int(fields.get(b"content-length", 0))
        head_only = len(found) < len(methods) and methods[len(found)] == b"HEAD"
        body, data = (b"", rest) if head_only or status in (204, 304) else (rest[:size], rest[size:])
        code = None
        if status >= 400 and not head_only:
            problem = json.loads(body)
            code = problem["code"]
            if fields[b"content-type"] != b"application/problem+json" or problem["status"] != status or problem["request_id"].encode() != fields[b"x-request-id"] or (
                    set(problem) != set(SCHEMAS["Problem"]["required"]) or code not in SCHEMAS["ProblemCode"]["enum"] or problem["title"] != line[2].decode()):
                raise ValueError(f"no problem document: {head!r} {body!r}")
        found.append((status, code, fields.get(b"connection", b"").lower()))
    return found


def verdict(case, data):
    """None, or what is wrong."""
    methods = [b"HEAD"] if case.data.startswith(b"HEAD") else []
    try:
        got = answers(data, methods)
    except (ValueError, KeyError) as error:
        return str(error)
    shown = tuple(OK if a[0] == 404 and a[1] in ("path_unknown", None) else a[0] for a in got)
    if shown != case.expected:
        return f"expected {case.expected}, got {shown}"
    for answer in got:
        if answer[0] >= 400 and answer[0] not in (404, 405) and b"close" not in answer[2]:
            return f"{answer[0]} does not say that the connection ends"
    return None


def exchanges(case, cuts):
    data = case.data
    yield "whole", [data]
    if len(data) <= LONG:
        yield "byte by byte", [data[i:i + 1] for i in range(len(data))]
    points = range(1, len(data))
    if len(data) > LONG:
        points = [1, 20, len(data) // 2, len(data) - 1]
    elif cuts is not None:
        points = sorted({1 + (i * 7919 + len(data) // 2) % (len(data) - 1) for i in range(cuts)}) if len(data) > 1 else []
    for point in points:
        yield f"cut at {point}", [data[:point], data[point:]]


def run(address, cases=CASES, cuts=None, tls=None):
    """(exchanges, [(case, how, what is wrong)]). tls: an ssl.SSLContext to ask through."""
    begin = functools.partial(TlsExchange, tls) if tls else Exchange
    waiting = ((case, how, pieces) for case in cases for how, pieces in exchanges(case, cuts))
    selector, open_now, count, wrong = selectors.EpollSelector(), 0, 0, []
    exhausted = False
    while open_now or not exhausted:
        while open_now < AT_ONCE and not exhausted:
            try:
                case, how, pieces = next(waiting)
            except StopIteration:
                exhausted = True
                break
            selector.register((e := begin(address, case, pieces[::-1], how)).socket, selectors.EVENT_READ | selectors.EVENT_WRITE, e)
            open_now += 1
            count += 1
        for key, events in selector.select(1):
            e, on = key.data, True
            if events & selectors.EVENT_WRITE and not e.write():
                selector.modify(e.socket, selectors.EVENT_READ, e)
            if events & selectors.EVENT_READ:
                on = e.read()
            if not on or time.monotonic() > e.until:
                selector.unregister(e.socket)
                e.socket.close()
                open_now -= 1
                error = verdict(e.case, e.got) if not on else "the server does not close the connection"
                if error:
                    wrong.append((e.case, e.how, error))
        now = time.monotonic()
        for key in [k for k in selector.get_map().values() if now > k.data.until]:
            selector.unregister(key.fileobj)
            key.fileobj.close()
            open_now -= 1
            wrong.append((key.data.case, key.data.how, "the server does not close the connection"))
    return count, wrong


def peers():
    """{name: (version, {case's number: its answers})} as http1_peers.py found them."""
    facts = json.loads(http1_peers.FACTS.read_text(encoding="utf-8"))
    if any(peer["cases"] != http1_peers.digest() for peer in facts.values()):
        raise SystemExit("http1_cases.py has changed since the others were asked: make http-peers")
    return {name: (peer["version"], {number: answer for (number, _), answer in zip(http1_peers.compared(), peer["answers"])}) for name, peer in facts.items()}


def comparison(found):
    lines = ["## The same bytes to others", "",
             "Each case whole, to servers that answer everything with 200 (`make http-peers`, `tests/conformance/http1_peers.py`). A peer *agrees* when it serves what weir",
             "serves and refuses what weir refuses, with whatever status or by closing. Where the RFC leaves a choice weir takes the strict side, so *serves more* is not always",
             "against the RFC; the section tells. *Serves less*: it refuses, or does not answer, what weir serves.", "",
             "| | cases | agrees | serves more | serves less |", "|---|---|---|---|---|"]
    for name, (version, answers) in found.items():
        verdicts = [http1_peers.judge(CASES[number].expected, answer) for number, answer in answers.items()]
        lines.append(f"| {name} {version} | {len(verdicts)} | {verdicts.count('same')} | {verdicts.count('served')} | {verdicts.count('missed')} |")
    return [*lines, ""]


def shown_answer(case, answer):
    if answer is None:
        return ""
    text = ", ".join(map(str, answer)) if len(answer) < 4 else f"{len(answer)} × {answer[0]}"
    return (text or "none") if http1_peers.judge(case.expected, answer) == "same" else f"**{text or 'none'}**"


def table():
    def shown(data):
        text = "".join(chr(b) if 0x20 <= b < 0x7f and chr(b) not in "|`\\" else {13: "\\r", 10: "\\n", 9: "\\t"}.get(b, f"\\x{b:02x}") for b in data[:70])
        return f"`{text}`{' …' if len(data) > 70 else ''}"
    found = peers()
    lines = ["# HTTP/1.1 conformance", "", "<!-- Printed by tests/conformance/http1.py --table (make docs). Do not edit. -->", "",
             f"{len(CASES)} cases with the verdict of RFC 9112 and RFC 9110, in `tests/conformance/http1_cases.py`. Each is sent whole, byte by byte, and cut in two at every point",
             "(`make torture`; `make check` cuts at two). The verdict must be the same every time, each refusal a problem document with the security",
             "headers, and nothing behind a refusal may be read. ok: the request reached the routes.", "", *comparison(found), "## The cases", "",
             "What others answer is **bold** where they do not agree.", "",
             f"| case | section | what the RFC says | bytes begin with | answers |{''.join(f' {name} |' for name in found)}", f"|---|---|---|---|---|{'---|' * len(found)}"]
    for number, c in enumerate(CASES):
        name = c.name if len(c.name) <= 60 else c.name[:57] + "…'"
        name = name.replace("|", "\\|")
        answer = ", ".join(map(str, c.expected)) if len(c.expected) < 4 else f"{len(c.expected)} × {c.expected[0]}"
        others = "".join(f" {shown_answer(c, answers.get(number))} |" for _, answers in found.values())
        lines.append(f"| {name.replace('`', chr(39))} | {c.section} | {c.demand} | {shown(c.data)} | {answer or 'none'} |{others}")
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] == ["--table"]:
        sys.stdout.write(table())
        return 0
    host, port = sys.argv[1].rsplit(":", 1)
    cuts = None if sys.argv[2:] == ["--cuts", "all"] else int(sys.argv[3]) if sys.argv[2:3] == ["--cuts"] else 2
    began = time.monotonic()
    count, wrong = run((host, int(port)), cuts=cuts)
    for case, how, error in wrong[:60]:
        print(f"{case.section}: {case.name} ({how}): {error}")
    print(f"{len(CASES)} cases, {count} exchanges in {time.monotonic() - began:.0f} s, {len(wrong)} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
