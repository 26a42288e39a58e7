"""Clients of the gateway for tests: answers checked against its OpenAPI document, raw sockets, and a WebSocket client that keeps books."""
import json
import random
import re
import socket
import time
import warnings

import websocket

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import jsonschema

import stack

# RFC 6455's registry has them; this client library is older.
websocket._abnf.VALID_CLOSE_STATUS = (*websocket._abnf.VALID_CLOSE_STATUS, 1012, 1013)


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
            assert body["status"] == status and body["request_id"] == headers["x-request-id"]
            assert body["type"] == "urn:weir:problem:" + body["code"]
        for name in ("x-request-id", "x-content-type-options", "x-frame-options", "content-security-policy", "cache-control"):
            assert name in headers, name
        operation = self.operation(method, path)
        if operation is None:
            assert status in (400, 401, 404, 405), (method, path, status)
            return
        assert str(status) in operation["responses"], (method, path, status, body)
        if status < 400:
            self.check(body, operation["responses"][str(status)]["content"]["application/json"]["schema"])


class Api:
    """Both listeners of one gateway; every answer is judged."""

    def __init__(self, base, admin, key=stack.ADMIN_KEY):
        self.base, self.admin, self.key = base, admin, key
        self.document = Document(stack.http_json(base + "/openapi.json")[1])
        self.asked = set()

    def get(self, path):
        status, body, headers = stack.http_json(self.base + path, timeout=20)
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
        status, answer, got = stack.http_json(self.admin + path, method, body, headers, 20)
        self.document.answer(method, path, status, answer, got)
        self.asked.add(self.document.operation(method, path) and self.document.operation(method, path)["operationId"])
        return status, answer


def raw(address, data, seconds=10):
    """Bytes in, everything out until the server closes or says nothing for a while: (status codes, head and body text)."""
    host, port = address.split("//")[1].split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as s:
        s.sendall(data)
        out = b""
        s.settimeout(1.0)
        try:
            while part := s.recv(65536):
                out += part
        except TimeoutError:
            pass
        except ConnectionResetError:
            pass
    return [int(x) for x in re.findall(rb"HTTP/1\.1 (\d{3})", out)], out.decode(errors="replace")


class Stream:
    """One WebSocket connection."""

    def __init__(self, base, document=None, seconds=10):
        self.ws = websocket.create_connection(base.replace("http", "ws") + "/v1/ws", timeout=seconds)
        self.document, self.pushes, self.number = document, [], 0

    def receive(self, seconds=10):
        self.ws.settimeout(seconds)
        message = json.loads(self.ws.recv())
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

    def push(self, seconds=10):
        return self.pushes.pop(0) if self.pushes else self.receive(seconds)

    def close(self):
        self.ws.close(timeout=1)


class Books:
    """Holds what a subscription was given and not taken back; falls over anything twice, out of order, or taken back that was not held."""

    def __init__(self, bases, seed, document=None, odds=0.004, **subscription):
        """odds: of a reconnect before a message."""
        self.bases, self.rng, self.document, self.odds, self.subscription = bases, random.Random(seed), document, odds, subscription
        self.held, self.offset, self.reconnects, self.retractions, self.given = {}, None, 0, 0, 0
        self.stream, self.sequence = None, 0

    def connect(self):
        if self.stream:
            self.stream.close()
        self.reconnects += 1
        self.stream = Stream(self.rng.choice(self.bases), self.document)
        params = dict(self.subscription)
        if self.offset is not None:
            params["from"] = {"offset": self.offset}
        result = self.stream.subscribe(**params)
        self.offset = self.offset or result["offset"]
        self.sequence = 0

    def take(self, seconds):
        push = self.stream.push(seconds)
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

    def follow(self, until, seconds=180, patience=0.3):
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
