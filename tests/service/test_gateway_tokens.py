"""JSON Web Tokens: signed by another program, keys in turn, and what one implementation takes the other takes, too."""
import base64
import hashlib
import hmac
import json
import os
import pathlib
import random
import sys
import time
import types
import urllib.request

import jwt
import pytest
import websocket
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from test_weirctl import PERMISSION, USAGE, Weirctl  # noqa: E402
from token_issuer import ISSUER, SECRET, Issuer, issuer, stores, url64  # noqa: E402, F401 (fixtures by name)

PREVIOUS = "p" * 40


@pytest.fixture(scope="module")
def gateway(stores, issuer):
    return stores.gateway({"gateway": {"jwt": {"issuer": ISSUER, "keys": issuer.url, "secret": SECRET, "secret_previous": PREVIOUS, "skew": "0s"}}})


def ask(gateway, token, path="/v1/chains"):
    return gateway.get(path, Authorization=f"Bearer {token}")


def test_tokens_of_all_three_kinds_open_the_ledger(gateway, issuer):
    for token in (issuer.token(), issuer.token("e1"), issuer.token(""), issuer.token("", key=PREVIOUS), issuer.token("r1", alg="RS256", aud=["a", "weir"])):
        assert ask(gateway, token)[0] == 200, token
    assert ask(gateway, issuer.token(scope="stream"))[0] == 403
    assert ask(gateway, issuer.token(scope=None))[0] == 403


def test_scopes_of_tokens_are_roles(gateway, issuer):
    for scopes, role in (({"scope": "read viewer"}, "viewer"), ({"scope": None, "roles": ["operator", "unknown"]}, "operator"), ({"scope": "admin"}, "admin")):
        assert gateway.operate("GET", "session", key=issuer.token(**scopes))[:2] == (200, {"name": "token:alice", "role": role})
    assert gateway.operate("GET", "session", key=issuer.token())[0] == 403
    assert gateway.operate("POST", "chains/dev/pause", {}, key=issuer.token(scope="operator"))[0] == 202
    assert gateway.operate("GET", "audit?limit=1")[1]["items"][0]["words"]["who"] == "token:alice"


@pytest.mark.parametrize("change,words", [
    ({"exp": 1}, "expired"), ({"nbf": int(time.time()) + 3600}, "not valid yet"), ({"iss": "https://evil.example"}, "another issuer"), ({"aud": "other"}, "somebody else"),
    ({"iss": None}, "not a token"), ({"aud": None}, "not a token"), ({"exp": None}, "not a token"), ({"sub": None}, "not a token"),
    ({"key": rsa.generate_private_key(65537, 2048)}, "signature"), ({"kid": "e1", "key": ec.generate_private_key(ec.SECP256R1())}, "signature"),
    ({"kid": "r9"}, "not known"), ({"kid": "", "key": "x" * 32}, "signature"), ({"headers": {"crit": ["x"], "x": 1}}, "not a token"), ({"kid": "", "alg": "HS384", "key": SECRET}, "not a token")])
def test_what_is_wrong_with_a_token_is_said(gateway, issuer, change, words):
    status, problem, headers = ask(gateway, issuer.token(**change))
    assert (status, problem["code"], headers["www-authenticate"]) == (401, "unauthorized", "Bearer") and words in problem["detail"]


def test_no_other_algorithm_gets_in(gateway, issuer):
    """none, and the public key as an HMAC secret."""
    head = lambda **h: url64(json.dumps(h).encode())  # noqa: E731
    claims = issuer.token().split(".")[1]
    for alg in ("none", "None", "NONE", "nOnE", ""):
        assert ask(gateway, f"{head(alg=alg)}.{claims}.")[0] == 401
    from cryptography.hazmat.primitives import serialization as s
    public = issuer.rsa.public_key()
    for secret in (public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo), public.public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo),
                   issuer.set().encode()):
        for kid in ({"kid": "r1"}, {}):
            signed = f"{head(alg='HS256', **kid)}.{claims}"
            assert ask(gateway, f"{signed}.{url64(hmac.digest(secret, signed.encode(), hashlib.sha256))}")[0] == 401


def theirs(token, issuer):
    """PyJWT's verdict, told to demand what we demand."""
    try:
        header = jwt.get_unverified_header(token)
        known = {("RS256", "r1"): issuer.rsa.public_key(), ("ES256", "e1"): issuer.ec.public_key(), ("HS256", None): SECRET}
        key = known.get((header["alg"], header.get("kid")))
        if key is None:
            return False
        jwt.decode(token, key, [header["alg"]], issuer=ISSUER, audience="weir", options={"require": ["exp", "iss", "aud", "sub"]})
        return True
    except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError):
        return False


def test_both_implementations_agree(gateway, issuer):
    rng = random.Random(8725)
    good = [issuer.token(), issuer.token("e1"), issuer.token("")]
    tokens = list(good)
    for _ in range(250):
        token = rng.choice(good)
        how = rng.randrange(4)
        at = rng.randrange(len(token))
        if how == 0:
            token = token[:at] + rng.choice("ABCxyz019-_.") + token[at + 1:]
        elif how == 1:
            token = token[:at] + token[at + 1:]
        elif how == 2:  # parts of different tokens
            token = ".".join(rng.choice(good).split(".")[i] for i in range(3))
        else:
            value = rng.choice([None, 0, 1, 2**31, 2**37, "", "weir", ISSUER, ["weir"], [], {}, True, 1e9, 4e9])
            name = rng.choice(["iss", "aud", "exp", "nbf", "sub"])
            token = issuer.token(rng.choice(["r1", "e1", ""]), **{name: value}) if not (name in ("exp", "nbf") and isinstance(value, (str, list, dict))) else token
        tokens.append(token)
    ours_only, theirs_only = [], []
    for token in tokens:
        ours, other = ask(gateway, token)[0] == 200, theirs(token, issuer)
        if ours and not other:
            ours_only.append(token)
        if other and not ours:
            theirs_only.append(token)
    assert not ours_only, "we let in what they refuse"
    assert [ask(gateway, t)[0] for t in good] == [200] * 3
    for token in theirs_only:  # where we are stricter, on purpose: sub must be a text with something in it, base64 has no stray bits
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        stray = any(url64(base64.urlsafe_b64decode(part + "==")) != part for part in token.split("."))
        assert stray or not isinstance(claims["sub"], str) or not claims["sub"] or isinstance(claims.get("exp"), bool) or isinstance(claims.get("nbf"), bool) or \
            claims["sub"] != "alice", claims


def test_keys_change_without_one_refusal_and_nobody_is_hammered(stores, issuer):
    other = Issuer()
    gateway = stores.gateway({"gateway": {"jwt": {"issuer": ISSUER, "keys": other.url, "refresh": "1h"}}})
    assert ask(gateway, other.token("r1"))[0] == 200 and other.asked == 1
    other.published = ["r1", "r2"]
    # A key that is not known is looked for, but not within seconds of the last time.
    stack.wait_until("the new key", 60, lambda: ask(gateway, other.token("r2"))[0] == 200)
    assert other.asked == 2
    began = time.monotonic()
    for i in range(60):
        assert ask(gateway, other.token(f"r{i + 10}"))[0] == 401
        assert ask(gateway, other.token("r1"))[0] == ask(gateway, other.token("r2"))[0] == 200
    assert other.asked <= 3 + (time.monotonic() - began) / 2
    before = other.asked
    # While the issuer is away, or talks nonsense, what was read stays.
    other.status = 500
    stack.wait_until("another question", 60, lambda: ask(gateway, other.token("r99"))[0] and other.asked >= before + 1)
    assert ask(gateway, other.token("r2"))[0] == 200
    assert "token_keys" in gateway.log.read_text()
    gateway.stop()
    other.server.shutdown()


def test_keys_of_a_file(stores, issuer):
    path = stores.folder / "keys.json"
    path.write_text(issuer.set())
    gateway = stores.gateway({"gateway": {"jwt": {"issuer": ISSUER, "keys": str(path), "scope_prefix": "weir:", "refresh": "1s"}}})
    assert ask(gateway, issuer.token(scope="weir:read"))[0] == 200 and ask(gateway, issuer.token(scope="read"))[0] == 403
    assert ask(gateway, issuer.token(""))[0] == 401, "no secret is set"
    path.write_text(json.dumps({"keys": [json.loads(issuer.set())["keys"][1]]}))
    stack.wait_until("the old key to go", 60, lambda: ask(gateway, issuer.token(scope="weir:read"))[0] == 401)
    assert ask(gateway, issuer.token("e1", scope="weir:read"))[0] == 200
    gateway.stop()


def test_a_connection_ends_with_its_token(gateway, issuer):
    token = issuer.token("e1", exp=int(time.time()) + 8)
    ws = websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, header={"Authorization": f"Bearer {token}"})
    assert b'"credentials_end"' in ws.recv_data()[1]
    assert ws.recv_data()[1][:2] == (3000).to_bytes(2, "big")
    with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
        websocket.create_connection(gateway.api.replace("http", "ws") + "/v1/ws", timeout=60, header={"Authorization": f"Bearer {token}"})


def test_weirctl_revokes_tokens_and_lists_what_is_revoked(gateway, issuer):
    """One by its jti, all of a subject up to now: the gateway refuses them, and the list tells by whom and why, page by page."""
    weirctl = Weirctl(types.SimpleNamespace(bin=pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")), api=gateway.api, admin=gateway.admin))
    made = lambda **claims: issuer.token(exp=int(time.time()) + 600, iat=int(time.time()) - 10, **claims)  # noqa: E731
    stolen, other, everything, later = made(sub="mallory", jti="ctl-1"), made(sub="mallory", jti="ctl-2"), made(sub="nina"), made(sub="olaf", jti="ctl-3")

    def refused(token):
        status, answer, _ = ask(gateway, token)
        assert status == 200 or (status == 401 and "was revoked" in answer["detail"]), answer
        return status == 401
    assert weirctl.table("token", "list") == []
    one = weirctl.json("token", "revoke", "jti", "ctl-1", why="it was stolen", **{"expires-in": "600"})
    assert (one["jti"], one["subject"], one["issued_before"], one["created_by"], one["why"]) == ("ctl-1", None, None, "local", "it was stolen")
    stack.wait_until("the one is refused", 60, lambda: refused(stolen))
    assert not refused(other) and not refused(everything)
    assert "nina" in weirctl("token", "revoke", "subject", "nina", why="she left", **{"expires-in": "600"})
    stack.wait_until("all of the subject are", 60, lambda: refused(everything))
    assert not refused(other) and not refused(later)
    rows = weirctl.table("token", "list")
    assert [(r["JTI"], r["SUBJECT"], r["BY"], r["WHY"]) for r in rows] == [("-", "nina", "local", "she left"), ("ctl-1", "-", "local", "it was stolen")]
    first = weirctl.json("token", "list", limit="1")
    second = weirctl.json("token", "list", limit="1", cursor=first["next_cursor"])
    assert [first["items"][0]["subject"], second["items"][0]["jti"], second["next_cursor"]] == ["nina", "ctl-1", None]
    # Wrong words ask nobody; who may not, may not.
    assert "jti" in weirctl.refused(USAGE, "token", "revoke", "name", "ctl-3", why="no", **{"expires-in": "600"})
    assert "--why" in weirctl.refused(USAGE, "token", "revoke", "jti", "ctl-3", **{"expires-in": "600"})
    assert "--expires-in" in weirctl.refused(USAGE, "token", "revoke", "jti", "ctl-3", why="no")
    weirctl.refused(USAGE, "token", "revoke", "jti", "ctl-3", why="no", **{"expires-in": "soon"})
    weirctl.refused(PERMISSION, "token", "revoke", "jti", "ctl-3", why="no", key="viewer-key-0123456789", **{"expires-in": "600"})
    assert not refused(later) and len(weirctl.table("token", "list")) == 2


def test_no_token_stands_in_a_log(gateway, issuer):
    token = issuer.token()
    ask(gateway, token)
    ask(gateway, token + "x")
    text = gateway.log.read_text()
    assert token.split(".")[2] not in text and SECRET not in text and PREVIOUS not in text


@pytest.mark.parametrize("settings,words", [
    ({"keys": "http://issuer.example/keys"}, "https:// only"), ({}, "neither"), ({"secret": "short"}, "at least 32"), ({"secret": SECRET, "audience": ""}, "gateway.jwt.audience")])
def test_settings_that_do_not_fit_together_end_the_start(stores, settings, words):
    with pytest.raises(RuntimeError, match=words):
        stores.gateway({"gateway": {"jwt": {"issuer": ISSUER, **settings}}})
    stores.gateways = [g for g in stores.gateways if g.process.alive()]


def test_without_an_issuer_no_token_is_accepted(stores, issuer):
    gateway = stores.gateway()
    assert ask(gateway, issuer.token())[0] == 401
    with urllib.request.urlopen(gateway.api + "/v1/chains", timeout=60) as answer:
        assert answer.status == 200
    gateway.stop()
