"""Clients of the gateway for tests: answers checked against its OpenAPI document, raw sockets, and clients of the live end that keep books."""
import json
import pathlib
import random
import re
import socket
import struct
import time
import urllib.parse
import warnings
import zlib

import websocket

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import jsonschema

import stack

# RFC 6455's registry has them; this client library is older.
websocket._abnf.VALID_CLOSE_STATUS = (*websocket._abnf.VALID_CLOSE_STATUS, 1012, 1013)


ASYNC = json.loads((pathlib.Path(__file__).resolve().parents[2] / "services" / "gateway" / "api" / "asyncapi.json").read_text())


class Document:
    """The OpenAPI document, as a judge of answers."""

    def __init__(self, document):
        self.document = document
        self.resolver = jsonschema.RefResolver("", document)

    def check(self, value, schema):
        validator = jsonschema.Draft202012Validator(schema, resolver=self.resolver)
        errors = sorted(validator.iter_errors(value), key=lambda e: list(map(str, e.path)))
        assert not errors, f"{errors[0].message[:300]} at {list(errors[0].path)}"

    def named(self, value, name):
        self.check(value, {"$ref": f"#/components/schemas/{name}"})

    def operation(self, method, path):
        path = path.split("?")[0]
        for template, operations in sorted(self.document["paths"].items(), key=lambda item: item[0].count("{")):
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) and method.lower() in operations:
                return operations[method.lower()]
        return None

    def answer(self, method, path, status, body, headers):
        """An answer is one that the document promises for this operation; a problem is one anywhere."""
        headers = {k.lower(): v for k, v in headers.items()}
        if status >= 400:
            assert headers["content-type"] == "application/problem+json", headers
            self.named(body, "Problem")
            assert body["status"] == status
            assert body["request_id"] == headers["x-request-id"] or "idempotency-replayed" in headers # the first request's
            assert body["type"] == "urn:weir:problem:" + body["code"] and body["title"] not in ("", "Error")
            assert body["retryable"] == ("retry-after" in headers or status in (408, 429, 503)) or "idempotency-replayed" in headers
        for name in ("x-request-id", "x-content-type-options", "x-frame-options", "content-security-policy", "cache-control"):
            assert name in headers, name
        operation = self.operation(method, path)
        if operation is None:
            assert status in (400, 401, 404, 405), (method, path, status)
            return
        assert str(status) in operation["responses"], (method, path, status, body)
        if status == 304:
            assert body is None
        elif status < 400:
            self.check(body, operation["responses"][str(status)]["content"]["application/json"]["schema"])


class Api:
    """Both listeners of one gateway; every answer is judged."""

    def __init__(self, base, admin, key=stack.ADMIN_KEY):
        self.base, self.admin, self.key = base, admin, key
        self.document = Document(stack.http_json(base + "/openapi.json")[1])
        self.asked = set()

    def get(self, path, headers=None):
        status, body, headers = stack.http_json(self.base + path, headers=headers)
        self.document.answer("GET", path, status, body, headers)
        self.asked.add(self.document.operation("GET", path) and self.document.operation("GET", path)["operationId"])
        return status, body, headers

    def ok(self, path):
        status, body, _ = self.get(path)
        assert status == 200, (path, status, body)
        return body

    def items(self, path, limit=None):
        """All pages."""
        join = "&" if "?" in path else "?"
        base = path + (f"{join}limit={limit}" if limit else "")
        found, cursor = [], None
        while True:
            page = self.ok(base if cursor is None else f"{base}{'&' if '?' in base else '?'}cursor={cursor}")
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def problem(self, path, status, code):
        got, body, headers = self.get(path)
        assert (got, body["code"]) == (status, code), (path, got, body)
        return body, headers

    def operate(self, method, path, body=None, key=None, headers=None):
        headers = dict({"Authorization": f"Bearer {key or self.key}"} if key != "" else {}, **(headers or {}))
        status, answer, got = stack.http_json(self.admin + path, method, body, headers)
        self.document.answer(method, path, status, answer, got)
        self.asked.add(self.document.operation(method, path) and self.document.operation(method, path)["operationId"])
        return status, answer


def raw(address, data, seconds=60):
    """Bytes in, everything out until the server closes, or has begun to answer and then says nothing for a while: (status codes, head and body text)."""
    host, port = address.split("//")[1].split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as s:
        s.sendall(data)
        out = b""
        try:
            while part := s.recv(65536):
                out += part
                s.settimeout(1.0)
        except TimeoutError:
            pass
        except ConnectionResetError:
            pass
    return [int(x) for x in re.findall(rb"HTTP/1\.1 (\d{3})", out)], out.decode(errors="replace")


class Stream:
    """One WebSocket connection."""

    def __init__(self, base, document=None, seconds=60, window=None, header=()):
        """window: of the kernel's bytes that nobody has read yet; small, for a client that shall be slow."""
        options = ((socket.SOL_SOCKET, socket.SO_RCVBUF, window),) if window else ()
        self.ws = websocket.create_connection(base.replace("http", "ws") + "/v1/ws", timeout=seconds, sockopt=options, header=list(header))
        self.document, self.pushes, self.number = document, [], 0

    def receive(self, seconds=60):
        """Pings of the server, which the library answers, do not put the end of the wait off."""
        deadline, opcode = time.monotonic() + seconds, None
        while opcode not in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            self.ws.settimeout(max(0.001, deadline - time.monotonic()))
            opcode, data = self.ws.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise websocket.WebSocketConnectionClosedException
        message = json.loads(data)
        if self.document:
            self.document.named(message, "WsPush" if "event" in message else "WsReply")
        return message

    def ask(self, method, params=None):
        self.number += 1
        self.ws.send(json.dumps({"id": self.number, "method": method, **({"params": params} if params is not None else {})}))
        while True:
            message = self.receive()
            if message.get("id") == self.number:
                return message
            self.pushes.append(message)

    def subscribe(self, **params):
        answer = self.ask("subscribe", params)
        assert "result" in answer, answer
        return answer["result"]

    def push(self, seconds=60):
        return self.pushes.pop(0) if self.pushes else self.receive(seconds)

    def close(self):
        self.ws.close(timeout=1)


class Deflated(Stream):
    """A Stream with permessage-deflate: reads frames by itself, and keeps how many of its messages came compressed."""

    PROTOCOL, TEXT, PLAIN = "", 0xc1, 1

    def __init__(self, base, document=None, seconds=60, offer="permessage-deflate; client_max_window_bits"):
        self.document, self.pushes, self.number, self.compressed, self.bytes, self.received = document, [], 0, 0, 0, b""
        host, port = base.split("//")[1].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        self.socket.sendall((f"GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             f"Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Extensions: {offer}\r\n{self.PROTOCOL}\r\n").encode())
        self.head = self.exactly(lambda: self.received.index(b"\r\n\r\n") + 4).decode()
        self.ws = self
        if not self.head.startswith("HTTP/1.1 101 "):
            raise ConnectionError(self.head)

    def exactly(self, size):
        """So many bytes; a size that cannot be told yet raises ValueError."""
        while True:
            try:
                n = size() if callable(size) else size
                if len(self.received) >= n:
                    part, self.received = self.received[:n], self.received[n:]
                    return part
            except ValueError:
                pass
            try:
                more = self.socket.recv(65536)
            except TimeoutError as error:
                raise websocket.WebSocketTimeoutException from error
            if not more:
                raise websocket.WebSocketConnectionClosedException
            self.received += more

    def settimeout(self, seconds):
        self.socket.settimeout(seconds)

    def send(self, text):
        squeezer = zlib.compressobj(wbits=-15)
        data = (squeezer.compress(self.encode(text)) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        self.socket.sendall(bytes([self.TEXT]) + size + bytes(4) + data)

    def encode(self, text):
        return text.encode()

    def decode(self, data):
        return data

    def recv_data(self, control_frame):
        """One frame, as websocket.WebSocket tells it."""
        first, size = self.exactly(2)
        assert size < 128 and control_frame
        size = struct.unpack(">H", self.exactly(2))[0] if size == 126 else struct.unpack(">Q", self.exactly(8))[0] if size == 127 else size
        data = self.exactly(size)
        if first & 15 == 8:
            raise websocket.WebSocketConnectionClosedException(data)
        if first & 15 == self.PLAIN:
            self.bytes += size
            self.compressed += first == self.TEXT
            data = self.decode(zlib.decompress(data + b"\0\0\xff\xff\3\0", -15) if first == self.TEXT else data)
        return first & 15, data

    def close(self):
        self.socket.close()


class Packed(Deflated):
    """The same in MessagePack, written and read after its specification, with no code of weir's."""

    PROTOCOL, TEXT, PLAIN = "Sec-WebSocket-Protocol: other, weir.msgpack, weir.json\r\n", 0xc2, 2

    def encode(self, text):
        def pack(value):
            if isinstance(value, dict):
                return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
            if isinstance(value, bool):
                return b"\xc3" if value else b"\xc2"
            if isinstance(value, str):
                return b"\xd9" + bytes([len(value.encode())]) + value.encode()
            return b"\xcf" + struct.pack(">Q", value)
        return pack(json.loads(text))

    def decode(self, data):
        at = 0

        def take(n):
            nonlocal at
            at += n
            assert at <= len(data)
            return data[at - n:at]

        def number(n):
            return int.from_bytes(take(n), "big")

        def unpack():
            tag = number(1)
            if tag < 0x80 or tag >= 0xe0:
                return tag if tag < 0x80 else tag - 256
            if tag < 0x90 or tag in (0xde, 0xdf):
                return {unpack(): unpack() for _ in range(tag & 15 if tag < 0x90 else number(2 if tag == 0xde else 4))}
            if tag < 0xa0 or tag in (0xdc, 0xdd):
                return [unpack() for _ in range(tag & 15 if tag < 0xa0 else number(2 if tag == 0xdc else 4))]
            if tag < 0xc0 or 0xd9 <= tag <= 0xdb:
                return take(tag & 31 if tag < 0xc0 else number(1 << (tag - 0xd9))).decode()
            if tag in (0xc0, 0xc2, 0xc3):
                return {0xc0: None, 0xc2: False, 0xc3: True}[tag]
            assert 0xcc <= tag <= 0xcf, tag
            return number(1 << (tag - 0xcc))

        value = unpack()
        assert at == len(data)
        return json.dumps(value)


def query_of(chain, topic, **rest):
    """A subscription's parameters as those of /v1/stream and /v1/poll."""
    begin = rest.pop("from", {})
    return urllib.parse.urlencode({"chain": chain, "topic": topic, **rest, **begin})


class EventStream:
    """One event stream, with the face of a Stream. Its offset travels as a browser's does: in Last-Event-ID."""

    def __init__(self, base, document=None, seconds=60, window=None, header=()):
        self.address, self.document, self.seconds, self.window = base.split("//")[1].split(":"), document, seconds, window
        self.socket, self.received, self.last_id, self.heartbeats = None, b"", None, []

    def ask(self, target, headers=()):
        self.socket = socket.socket()
        if self.window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window)
        self.socket.settimeout(self.seconds)
        self.socket.connect((self.address[0], int(self.address[1])))
        self.socket.sendall("\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *headers, "", ""]).encode())
        return self.part(b"\r\n\r\n", self.seconds).decode()

    def part(self, end, seconds):
        deadline = time.monotonic() + seconds
        while end not in self.received:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self.socket.recv(65536)
            except TimeoutError as error:
                raise websocket.WebSocketTimeoutException from error
            if not more:
                raise websocket.WebSocketConnectionClosedException("the stream ended")
            self.received += more
        part, self.received = self.received.split(end, 1)
        return part

    def subscribe(self, **params):
        begin = params.get("from", {})
        resume = [f"Last-Event-ID: {begin['offset']}"] if "offset" in begin else []
        if resume:
            params = {k: v for k, v in params.items() if k != "from"}
        head = self.ask("/v1/stream?" + query_of(**params), resume)
        assert head.startswith("HTTP/1.1 200 ") and "text/event-stream" in head, head
        name, event = self.event(self.seconds)
        assert name == "subscribed"
        return event

    def event(self, seconds):
        fields = dict(line.split(": ", 1) for line in self.part(b"\n\n", seconds).decode().split("\n"))
        self.last_id = fields.get("id", self.last_id)
        name, event = fields.get("event"), json.loads(fields["data"])
        if self.document and name:
            self.document.check(event, ASYNC["components"]["messages"][name]["payload"])
        return name, event

    def push(self, seconds=60):
        while True:
            name, event = self.event(seconds)
            if name == "close":
                raise websocket.WebSocketConnectionClosedException(event["reason"])
            if name == "heartbeat":
                self.heartbeats.append(event)
                continue
            assert name is None and event["offset"] == self.last_id
            if self.document:
                self.document.named(event, "WsPush")
            return event

    def close(self):
        if self.socket:
            self.socket.close()


class Poll:
    """Long polls, with the face of a Stream: every push is one of an answer, numbered on."""

    def __init__(self, base, document=None, seconds=60):
        self.base, self.document, self.params, self.offset, self.waiting, self.number = base, document, {}, None, [], 0

    def ask(self, wait, limit=47):
        params = dict(self.params, **({"from": {"offset": self.offset}} if self.offset else {}))
        status, answer, _ = stack.http_json(f"{self.base}/v1/poll?{query_of(**params)}&wait={wait}&limit={limit}", timeout=60 + wait)
        if status == 503:
            raise ConnectionError(answer)
        assert status == 200, (status, answer)
        if self.document:
            self.document.named(answer, "PollAnswer")
        assert len(answer["items"]) <= limit and [p["seq"] for p in answer["items"]] == list(range(1, len(answer["items"]) + 1))
        self.offset = answer["offset"]
        return answer["items"]

    def subscribe(self, **params):
        self.params = params
        if "height" in params.get("from", {}): # its offset comes with the first answer
            return {"offset": None}
        self.waiting = self.ask(0)
        return {"offset": self.waiting[0]["offset"] if self.waiting else self.offset}

    def push(self, seconds=60):
        if not self.waiting:
            self.waiting = self.ask(1)
        if not self.waiting:
            raise websocket.WebSocketTimeoutException
        self.number += 1
        return self.waiting.pop(0) | {"seq": self.number}

    def close(self):
        pass


class Balances:
    """An account's balances as a subscription of topic accounts tells them: the snapshot, what each block made of them, what they were before it."""

    def __init__(self):
        self.amounts, self.kinds = {}, []

    def take(self, event):
        self.kinds.append(event["type"])
        if event["type"] == "snapshot":
            self.amounts = {}
        self.amounts.update({row["asset"]: row["amount"] for row in event.get("balances", []) if row["amount"] is not None})


def read_together(clients, complete, seconds=180):
    """Several Books in turn, so that none looks dead or slow while another is read, until complete() and nothing comes to any of them."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        silent = True
        for books in clients:
            try:
                for _ in range(100):
                    books.take(0.05)
                    silent = False
            except websocket.WebSocketTimeoutException:
                pass
        if silent and complete():
            return


class Books:
    """Holds what a subscription was given and not taken back; falls over anything twice, out of order, or taken back that was not held."""

    def __init__(self, bases, seed, document=None, odds=0.004, carrier=Stream, **subscription):
        """odds: of a reconnect before a message."""
        self.carrier = carrier
        self.bases, self.rng, self.document, self.odds, self.subscription = bases, random.Random(seed), document, odds, subscription
        self.held, self.offset, self.reconnects, self.retractions, self.given = {}, None, 0, 0, 0
        self.stream, self.sequence = None, 0
        self.truth = None # for tests: what it should hold in the end
        self.kept = None  # a list: takes every push, to be judged when there is time

    def connect(self):
        if self.stream:
            self.stream.close()
        self.reconnects += 1
        self.stream = self.carrier(self.rng.choice(self.bases), self.document)
        params = dict(self.subscription)
        if self.offset is not None:
            params["from"] = {"offset": self.offset}
        result = self.stream.subscribe(**params)
        self.offset = self.offset or result["offset"]
        self.sequence = 0

    def take(self, seconds):
        push = self.stream.push(seconds)
        if self.kept is not None:
            self.kept.append(push)
        self.sequence += 1
        assert push["seq"] == self.sequence, (push["seq"], self.sequence)
        event = push["event"]
        if event["type"] == "retracted":
            self.retractions += 1
            for key in event["ids"]:
                assert key in self.held, f"retracted but never given: {key} {event}"
                assert self.held.pop(key)["block_hash"] == event["block_hash"]
        elif "id" in event:
            assert event["id"] not in self.held, f"given twice: {event}"
            self.held[event["id"]] = event | {"block_hash": event.get("block_hash") or event.get("hash")}
            self.given += 1
        self.offset = push["offset"]

    def read_until(self, complete, seconds=120):
        """Reads on until complete() and nothing more comes: silence alone would not tell that all is here from a server that is busy. What is lacking when
        time is up the caller's assertions tell."""
        deadline, silent = time.monotonic() + seconds, False
        while not (silent and complete()) and time.monotonic() < deadline:
            try:
                self.take(1.0)
                silent = False
            except websocket.WebSocketTimeoutException:
                silent = True

    def follow(self, until, seconds=240, patience=0.3):
        """Reads, and reconnects at random, until until(self) holds after a silence."""
        deadline = time.monotonic() + seconds
        self.connect()
        while True:
            assert time.monotonic() < deadline, f"held {len(self.held)} at {self.offset}"
            if self.rng.random() < self.odds:
                self.connect()
            try:
                self.take(patience)
            except websocket.WebSocketTimeoutException:
                if until(self):
                    return self
                if self.rng.random() < 0.3:
                    self.connect()
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                time.sleep(0.05)
                self.connect()
