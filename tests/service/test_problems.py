"""Problems (RFC 9457): the document lists every kind that the gateway has and no other, some test names each, and those that nothing else brings about are made here."""
import json
import pathlib
import re
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(ROOT / "tests" / "conformance"), str(pathlib.Path(__file__).parent)]
import http1  # noqa: E402
import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402
from gateway_client import Api, Stream  # noqa: E402
from test_gateway_keys import PEPPER  # noqa: E402

KINDS = json.loads((ROOT / "services" / "gateway" / "api" / "openapi.json").read_text())["components"]["schemas"]["ProblemCode"]
NOT_SEEN = {"not_read": "it is sent to a connection that takes nothing", "internal": "the fault is weir's own", "answer_too_large": "it takes 64 MiB",
            "cursor_expired": "four days later; tests/unit/gateway/cursor_test.c"}
C = "/v1/chains/dev"
HOLDER = "0x" + "12" * 20


def test_the_document_lists_what_the_source_says():
    found = {"invalid_request"} # said by words of a subscription, on any carrier
    for path in (ROOT / "services" / "gateway").rglob("*.c"):
        text = path.read_text()
        for match in re.finditer(r'\b[45]\d\d,\s*(?:[^"();]*\?\s*)?"([a-z_]+)"(?:\s*:\s*"([a-z_]+)")?', text):
            found |= {code for code in match.groups() if code}
        found |= set(re.findall(r'\{ "([a-z_]+)", [45]\d\d \}', text)) # hub_plain.c has a table of them
    assert found == set(KINDS["enum"])
    assert KINDS["enum"] == sorted(KINDS["enum"]) == sorted(KINDS["x-enum-descriptions"])
    assert all(re.fullmatch(r"[45]\d\d\. .+\.", words) for words in KINDS["x-enum-descriptions"].values())


def test_a_test_names_each():
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "tests/service", "tests/unit/gateway", "tests/conformance", "tests/dashboard"], capture_output=True, text=True, check=True).stdout.split()
    texts = "\n".join((ROOT / name).read_text(errors="replace") for name in files if name.endswith((".py", ".c", ".mjs")))
    assert [code for code in KINDS["enum"] if code not in NOT_SEEN and not re.search(rf"\b{code}\b", texts)] == []


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("problems"))
    yield stores
    stores.stop()


def exchange(base, data):
    """[(status, code)] of what the bytes are answered with, each a problem as the document has it."""
    host, port = base.split("//")[1].split(":")
    out = b""
    with socket.create_connection((host, int(port)), timeout=30) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while part := s.recv(65536):
            out += part
    return [answer[:2] for answer in http1.answers(out, [])]


def judged(gateway):
    return Api(gateway.api, gateway.admin)


def told(answer):
    return answer[0], answer[1]["code"]


def test_what_the_transport_refuses(stores):
    gateway = stores.gateway()
    head = b"Host: a\r\nConnection: close\r\n"
    chunked = b"POST /v1/batch HTTP/1.1\r\n" + head + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    socket_head = b"GET /v1/ws HTTP/1.1\r\n" + head.replace(b"close", b"Upgrade") + b"Upgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: " + b"A" * 22 + b"==\r\n"
    for lines, status, code in ((b"Content-Length: 2\r\nContent-Length: 2\r\n", 400, "ambiguous_length"), (b"Content-Length: x\r\n", 400, "bad_content_length"), (b"Host: b\r\n", 400, "bad_host"),
                                (b"Transfer-Encoding: chunked, chunked\r\n", 400, "bad_transfer_encoding"), (b"Transfer-Encoding: gzip, chunked\r\n", 501, "transfer_encoding_unknown"),
                                (b"X-Api-Key: a\r\nX-Api-Key: b\r\n", 400, "header_repeated")):
        assert exchange(gateway.api, b"POST /v1/batch HTTP/1.1\r\n" + head + lines + b"\r\n") == [(status, code)], lines
    for lines, status, code in ((socket_head + b"Sec-WebSocket-Version: 8\r\n" + key, 426, "websocket_version"), (socket_head + b"Sec-WebSocket-Version: 13\r\n", 400, "websocket_key"),
                                (socket_head + b"Sec-WebSocket-Version: 13\r\nContent-Length: 2\r\n" + key + b"\r\n{}", 400, "websocket_body"),
                                (b"GET /v1/ws HTTP/1.1\r\n" + head, 426, "upgrade_required")):
        assert exchange(gateway.api, lines + (b"" if lines.endswith(b"{}") else b"\r\n")) == [(status, code)], lines
    for data, status, code in ((b"GET /v1/chains HTTP/1.1\n" + head + b"\r\n", 400, "bad_line_end"), (b"GET  /v1/chains HTTP/1.1\r\n" + head + b"\r\n", 400, "bad_request_line"),
                               (b"GET /v1/chains HTTP/1.1\r\n" + head + b"X y: z\r\n\r\n", 400, "bad_header"), (b"GET /v1/chains HTTP/2.0\r\n" + head + b"\r\n", 505, "version_not_supported"),
                               (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + head + b"\r\n", 414, "target_too_long"), (b"BREW /v1/chains HTTP/1.1\r\n" + head + b"\r\n", 501, "method_unknown"),
                               (b"GET /v1/chains HTTP/1.1\r\n" + head + b"X: y\r\n" * 80 + b"\r\n", 431, "head_too_large"), (chunked + b"xyz\r\n", 400, "bad_chunk"),
                               (b"POST /v1/batch HTTP/1.1\r\n" + head + b"Content-Length: 99999999\r\n\r\n", 413, "body_too_large"),
                               (b"POST /v1/batch HTTP/1.1\r\n" + head + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415, "unsupported_media_type"),
                               (b"GET /v1/chains HTTP/1.1\r\n" + head + b"Expect: more\r\n\r\n", 417, "expectation_unknown")):
        assert exchange(gateway.api, data) == [(status, code)], data[:80]
    gateway.stop()


def test_what_is_not_there_yet_or_not_at_all(stores):
    stores.sql("insert into weir.chains (name, family, profile, chain_id, start_height, watermark_height, watermark_hash, watermark_at, finalized_height, safe_height) "
               "values ('late', 'evm', 'dev', 31338, 7, 7, %s, now(), 7, 7)", b"\x12" * 32)
    stores.sql("insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, endpoints) "
               "select id, 7, 0, %s, %s, 0, true, 0, 0, 0, '{}' from weir.chains where name = 'late'", b"\x12" * 32, b"\x00" * 32)
    chains = [{"name": name, "family": "evm", "profile": "dev", "chain_id": id, "endpoints": [{"url": "http://127.0.0.1:9"}]} for name, id in (("dev", 31337), ("late", 31338))]
    gateway = stores.gateway({"chains": chains})
    api = judged(gateway)
    api.problem(f"{C}/blocks/0/certificate", 404, "certificate_unknown")
    api.problem(f"/v1/chains/late/accounts/{HOLDER}/balances?height=3", 404, "height_before_start")
    assert told(api.operate("GET", "/admin/v1/audit")) == (400, "chain_missing")
    assert told(api.operate("POST", "/admin/v1/keys/k999/revoke", {"why": "test"}))[1] in ("key_unknown", "identity_unavailable")
    stores.sql("update weir.chains set name = 'renamed' where name = 'late'")
    again = stores.gateway({"chains": chains}, seconds=60, ready=False)
    stack.wait_until("the other chain", 30, lambda: stack.http_json(again.api + C)[0] == 200)
    answer = judged(again).problem("/v1/chains/late", 503, "ledger_not_ready")[0]
    assert answer["retryable"] is True
    stores.sql("update weir.chains set name = 'late' where name = 'renamed'")
    gateway.stop()
    again.stop()


def test_a_balance_that_the_chain_has_not_told(stores):
    stores.sql("insert into weir.accounts (chain, address) select id, %s from weir.chains where name = 'dev'", bytes.fromhex(HOLDER[2:]))
    stores.sql("insert into weir.assets (chain, standard, contract, first_height, non_conserving, non_conserving_since) "
               "select id, 2, %s, 0, true, now() from weir.chains where name = 'dev'", b"\x77" * 20)
    gateway = stores.gateway()
    answer = judged(gateway).problem(f"{C}/accounts/{HOLDER}/balances", 503, "observation_pending")[0]
    assert answer["retryable"] is True
    gateway.stop()


def test_as_many_as_there_may_be(stores):
    gateway = stores.gateway(stack.merge(PEPPER, {"webhooks": {"encryption_key": "A" * 43 + "=", "allow_loopback": True}, "gateway": {"max_websockets": 1}}))
    api = judged(gateway)
    for path in ("", "/enable", "/remove"):
        assert told(api.operate("POST" if path else "GET", f"/admin/v1/webhooks/77{path}", {"why": "test"} if path == "/remove" else {} if path else None)) == (404, "webhook_unknown")
    assert told(api.operate("POST", "/admin/v1/keys/k999/revoke", {"why": "test"})) == (404, "key_unknown")
    receiver = {"url": "http://127.0.0.1:9/", "topic": "blocks"}
    made = api.operate("POST", "/admin/v1/webhooks", receiver)
    assert made[0] in (200, 201), made
    hook = f"/admin/v1/webhooks/{made[1]['id']}"
    assert told(api.operate("GET", hook + "/deliveries/77")) == (404, "delivery_unknown")
    answers = [api.operate("POST", hook + "/rotate", {"overlap_seconds": 600000}) for _ in range(9)]
    assert told(answers[-1]) == (409, "too_many_secrets") and answers[0][0] == 200
    stores.sql("alter schema weir_webhooks rename to weir_elsewhere")
    assert told(api.operate("GET", "/admin/v1/webhooks")) == (503, "webhooks_not_ready")
    stores.sql("alter schema weir_elsewhere rename to weir_webhooks")
    columns = [row[0] for row in stores.sql("select column_name from information_schema.columns where table_schema = 'weir_webhooks' and table_name = 'endpoints' "
                                            "and is_identity = 'NO' and is_generated = 'NEVER'")]
    stores.sql(f"insert into weir_webhooks.endpoints ({', '.join(columns)}) select {', '.join(columns)} from weir_webhooks.endpoints cross join generate_series(2, 1000)")
    assert told(api.operate("POST", "/admin/v1/webhooks", receiver)) == (409, "too_many_webhooks")
    stores.sql("delete from weir_webhooks.endpoints")
    silences = [api.operate("POST", "/admin/v1/alerts/silences", {"pattern": f"p{n}", "seconds": 60, "why": "test"}) for n in range(65)]
    assert silences[63][0] == 200 and told(silences[64]) == (409, "too_many_silences")
    first = Stream(gateway.api)
    handshake = f"GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n"
    assert exchange(gateway.api, handshake.encode()) == [(503, "too_many_websockets")]
    assert api.problem("/v1/poll?chain=dev&topic=blocks", 503, "too_many_clients")[1]["Retry-After"] == "5"
    first.close()
    gateway.stop()


def test_a_list_of_connections_is_gone_on_with_at_the_gateway_where_it_was_begun(stores):
    """The other one has connections of its own under the same numbers; what it signed is good at both."""
    one, other = stores.gateway(), stores.gateway()
    held = [Stream(gateway.api) for gateway in (one, one, other, other)]
    status, page, _ = one.operate("GET", "connections?limit=1")
    assert status == 200 and page["next_cursor"]
    status, problem, _ = other.operate("GET", f"connections?limit=1&cursor={page['next_cursor']}")
    assert (status, problem["code"]) == (400, "invalid_cursor") and "begun at another gateway" in problem["detail"]
    status, rest, _ = one.operate("GET", f"connections?limit=1&cursor={page['next_cursor']}")
    assert status == 200 and len(rest["items"]) == 1 and rest["items"][0]["connection"] < page["items"][0]["connection"] and rest["next_cursor"] is None
    for stream in held:
        stream.close()
