"""Bearer tokens: really signed, and checked with keys that a real endpoint publishes."""

import asyncio
import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import serialize_compact

from shared.access.oidc import GRACE_SECONDS, KEYS_SECONDS, REFETCH_SECONDS, Tokens, Trust, fetch
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.http.caller import Caller, Denied
from tests.support.waiting import PATIENCE_SECONDS, Deadline

ISSUER, AUDIENCE = "https://id.example", "kith"
Json = dict[str, Any]


@cache
def first_key() -> RSAKey:
    """Every issuer begins with this one: to find one takes long, and nothing changes it."""
    return RSAKey.generate_key(2048, {"kid": "one"}, private=True)


class Issuer:
    """An issuer with an endpoint of its own."""

    def __init__(self) -> None:
        self.keys: list[Any] = [first_key()]
        self.status, self.asked, self.body = 200, 0, b""
        #: What trickles in after the body, and has.
        self.pieces = self.sent = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = issuer.body or json.dumps(KeySet(issuer.keys).as_dict(private=False)).encode()
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body) + issuer.pieces))
                self.end_headers()
                self.wfile.write(body)
                for _ in range(issuer.pieces):
                    time.sleep(0.02)
                    try:
                        self.wfile.write(b" ")
                    except OSError:
                        break  # nobody reads it any more
                    issuer.sent += 1

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/jwks"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def token(self, key: Any = None, header: Json | None = None, **claims: Any) -> str:
        now = int(time.time())
        whole: Json = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann",
            "exp": now + 300,
            "tenant": "acme",
            "scope": "openid consumers:read personal:read",
            **claims,
        }
        key = key or self.keys[0]
        head = {"alg": "RS256", "kid": key.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, {n: v for n, v in whole.items() if v is not None}, key, algorithms=[head["alg"]])


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(issuer: Issuer, clock: Clock) -> Tokens:
    return Tokens(Trust(ISSUER, AUDIENCE, issuer.url), clock=clock)


def refused(tokens: Tokens, token: str, status: int = 401) -> str:
    with pytest.raises(Denied) as caught:
        asyncio.run(tokens.caller(token))
    assert caught.value.status == status
    if status == 401:
        assert 'error="invalid_token"' in caught.value.headers["WWW-Authenticate"]
    return caught.value.detail


def test_a_token_is_its_caller(issuer: Issuer, tokens: Tokens) -> None:
    caller = asyncio.run(tokens.caller(issuer.token(masks=["personal.email", "amount"])))
    assert (caller.tenant, caller.name, caller.key) == ("acme", "ann", "oidc:ann")
    assert caller.scopes == {"consumers:read", "personal:read"}, "what is not Kith's grants nothing"
    assert caller.masks == ("amount", "personal.email")
    asyncio.run(tokens.caller(issuer.token(scope=["admin"])))
    assert issuer.asked == 1, "the keys are kept"


def test_a_token_may_be_bound_to_a_purpose(issuer: Issuer, tokens: Tokens) -> None:
    assert asyncio.run(tokens.caller(issuer.token())).purpose is None
    assert asyncio.run(tokens.caller(issuer.token(purpose="app_7"))).purpose == "app_7"


def test_claims_may_have_other_names_and_lie_deeper(issuer: Issuer) -> None:
    trust = Trust(ISSUER, AUDIENCE, issuer.url, ("RS256",), "kith.tenant", "permissions", "https://kith/masks")
    claims: Json = {"https://kith/masks": "amount personal.*"}
    token = issuer.token(kith={"tenant": "deep"}, permissions=["admin"], **claims)
    caller = asyncio.run(Tokens(trust).caller(token))
    assert (caller.tenant, caller.scopes, caller.masks) == (
        "deep",
        frozenset({"admin"}),
        ("amount", "personal.*"),
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 120},
        {"exp": None},
        {"nbf": int(time.time()) + 86_400},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": None},
        {"sub": None},
    ],
)
def test_what_a_token_must_say(issuer: Issuer, tokens: Tokens, claims: Json) -> None:
    refused(tokens, issuer.token(**claims))


@pytest.mark.parametrize(
    "claims",
    [
        *({"tenant": None}, {"tenant": "No Tenant"}, {"tenant": ["acme"]}, {"tenant": "a" * 80}),
        *({"purpose": ["mail"]}, {"purpose": ""}, {"purpose": "a.b"}, {"purpose": 5}, {"purpose": True}),
        *({"masks": ["a b"]}, {"masks": ["amount", 5]}, {"masks": {"amount": True}}, {"masks": 5}),
        *(
            {"masks": ["amout"]},
            {"masks": "amount ratng"},
            {"masks": ["location.street"]},
            {"masks": [["amount"]]},
        ),
        *({"masks": True}, {"masks": [""]}, {"masks": [None]}),
    ],
)
def test_a_good_token_that_names_no_tenant_or_no_fields_may_nothing(
    issuer: Issuer, tokens: Tokens, claims: Json
) -> None:
    refused(tokens, issuer.token(**claims), 403)


def signed(issuer: Issuer, changed: str) -> str:
    """A token whose claims are the usual ones and ``changed``, which is JSON without its first brace."""
    claims = base64.urlsafe_b64decode(issuer.token().split(".")[1] + "==").decode()
    text = claims.removesuffix("}") + "," + changed
    return serialize_compact({"alg": "RS256", "kid": "one"}, text.encode(), issuer.keys[0])


@pytest.mark.parametrize(
    "changed",
    [
        *('"masks": null}', '"purpose": null}', '"masks": ["Amount"]}', '"masks": [[]]}', '"masks": NaN}'),
        # An issuer's misspelt name is no reason to show everything.
        *('"Masks": ["amount"]}', '"MASKS": "amount"}', '"Purpose": "mail"}', '"mas\u212as": ["amount"]}'),
    ],
)
def test_what_was_to_narrow_is_never_ignored(issuer: Issuer, tokens: Tokens, changed: str) -> None:
    refused(tokens, signed(issuer, changed), 403)


@pytest.mark.parametrize(
    "changed",
    [
        *('"masks": ["amount"], "masks": []}', '"tenant": "other"}', '"scope": "admin"}', '"sub": "bob"}'),
        *('"x": {"a": 1, "\\u0061": 2}}', '"masks": [], "m\\u0061sks": ["amount"]}'),
    ],
)
def test_a_claim_that_is_stated_twice_is_refused(issuer: Issuer, tokens: Tokens, changed: str) -> None:
    assert "twice" in refused(tokens, signed(issuer, changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ('"kith": ["amount"]}', "no object"),
        ('"kith": null}', "no object"),
        ('"kith": {"Masks": ["amount"]}}', "letters"),
        ('"KITH": {"masks": ["amount"]}}', "letters"),
        ('"kith": {"masks": []}, "kith.masks": ["amount"]}', "twice"),
        ('"kith": {"masks": {"masks": ["amount"]}}}', "not a list"),
    ],
)
def test_a_nested_claim_is_found_or_refused(issuer: Issuer, changed: str, said: str) -> None:
    tokens = Tokens(Trust(ISSUER, AUDIENCE, issuer.url, masks_claim="kith.masks"))
    assert said in refused(tokens, signed(issuer, changed), 403)
    assert asyncio.run(tokens.caller(signed(issuer, '"kith": {"other": 1}}'))).masks == ()
    assert asyncio.run(tokens.caller(signed(issuer, '"kith.masks": "amount"}'))).masks == ("amount",)


def test_a_name_that_is_no_text_is_one_afterwards(issuer: Issuer, tokens: Tokens) -> None:
    claims = json.loads(base64.urlsafe_b64decode(issuer.token().split(".")[1] + "=="))
    # json writes it with an escape.
    half = json.dumps({**claims, "sub": "ann \ud83d"}).encode()
    token = serialize_compact({"alg": "RS256", "kid": "one"}, half, issuer.keys[0])
    caller = asyncio.run(tokens.caller(token))
    assert (caller.name, caller.key) == ("ann ?", "oidc:ann ?")


def test_long_names_that_begin_alike_are_two(issuer: Issuer, tokens: Tokens) -> None:
    names = ["x" * 200, *("x" * 200 + end for end in "ab")]
    callers = [asyncio.run(tokens.caller(issuer.token(sub=name))) for name in names]
    assert callers[0].key == f"oidc:{names[0]}"
    assert len({caller.key for caller in callers}) == len(names)
    assert {len(caller.name) for caller in callers} == {200}


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["9999999999", True, [4102444800], float("nan"), float("inf")])
def test_times_are_numbers(issuer: Issuer, tokens: Tokens, claim: str, value: Any) -> None:
    if (claim, value) == ("exp", True) or value is not True:
        refused(tokens, issuer.token(**{claim: value}))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "two"},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1"},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
    ],
)
def test_a_header_brings_no_key_of_its_own(issuer: Issuer, tokens: Tokens, header: Json) -> None:
    """Whatever it says of where the key is: only those of the issuer count, and another's signature is none."""
    claims = issuer.token().split(".")[1]
    other = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
    head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "one", **header}).encode()).rstrip(b"=")
    signed = head + b"." + claims.encode()
    assert other.private_key is not None
    signature = other.private_key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    refused(tokens, f"{signed.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_a_payload_that_is_nested_too_deeply_is_refused(issuer: Issuer, tokens: Tokens) -> None:
    deep = serialize_compact({"alg": "RS256", "kid": "one"}, b"[" * 5_000, issuer.keys[0])
    refused(tokens, deep)


def unsigned(claims: Json, alg: str = "none") -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": alg, "kid": "one"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def test_an_unsigned_token_is_refused(issuer: Issuer, tokens: Tokens) -> None:
    claims = json.loads(base64.urlsafe_b64decode(issuer.token().split(".")[1] + "=="))
    assert claims["tenant"] == "acme"
    for alg in ("none", "None", "nOnE", "RS256"):
        refused(tokens, unsigned(claims, alg))


def test_the_public_key_is_no_secret_to_sign_with(issuer: Issuer, tokens: Tokens) -> None:
    """A classic: who trusts the token's own alg checks an HMAC with the bytes that everyone has."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    signed = f"{head}.{issuer.token().split('.')[1]}"
    # By hand: joserfc does not take a public key for a secret.
    mac = hmac.new(issuer.keys[0].as_pem(private=False), signed.encode(), "sha256").digest()
    refused(tokens, f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_another_key_of_the_same_name_is_refused(issuer: Issuer, tokens: Tokens) -> None:
    refused(tokens, issuer.token(key=RSAKey.generate_key(2048, {"kid": "one"}, private=True)))


def test_an_algorithm_that_is_not_pinned_is_refused(issuer: Issuer, tokens: Tokens) -> None:
    refused(tokens, issuer.token(header={"alg": "RS512"}))


def test_a_token_that_was_changed_is_refused(issuer: Issuer, tokens: Tokens) -> None:
    head, body, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "tenant": "victim"}).encode()).rstrip(b"=").decode()
    refused(tokens, f"{head}.{other}.{signature}")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "x" * 20_000, "e30.e30.e30", "[].[].[]"])
def test_what_is_no_token_is_refused(tokens: Tokens, token: str) -> None:
    refused(tokens, token)


def test_a_new_key_is_fetched_when_it_is_first_used(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    asyncio.run(tokens.caller(issuer.token()))
    new = ECKey.generate_key("P-256", {"kid": "two"}, private=True)
    issuer.keys.append(new)
    token = issuer.token(key=new, header={"alg": "ES256"})
    clock.seconds += REFETCH_SECONDS
    assert asyncio.run(tokens.caller(token)).name == "ann"
    assert issuer.asked == 2


def test_unknown_keys_do_not_make_the_issuer_be_asked_more_often(
    issuer: Issuer, tokens: Tokens, clock: Clock
) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "stranger"}, private=True)
    for _ in range(5):
        refused(tokens, issuer.token(key=stranger))
    assert issuer.asked == 1
    clock.seconds += REFETCH_SECONDS
    for _ in range(5):
        refused(tokens, issuer.token(key=stranger))
    assert issuer.asked == 2


def test_a_key_that_the_issuer_has_withdrawn_is_refused_within_the_hour(
    issuer: Issuer, tokens: Tokens, clock: Clock
) -> None:
    old = issuer.keys[0]
    asyncio.run(tokens.caller(issuer.token()))
    issuer.keys[:] = [RSAKey.generate_key(2048, {"kid": "two"}, private=True)]
    assert asyncio.run(tokens.caller(issuer.token(key=old))).name == "ann"
    clock.seconds += KEYS_SECONDS
    refused(tokens, issuer.token(key=old))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (302, b""),
        (200, b"no json"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"[" * 100_000),
        (200, b" " * (2**20 + 1)),
    ],
)
def test_while_the_issuer_is_away_known_keys_go_on(
    issuer: Issuer, tokens: Tokens, clock: Clock, status: int, body: bytes
) -> None:
    token = issuer.token()
    issuer.status, issuer.body = status, body
    with pytest.raises(Unavailable):
        asyncio.run(tokens.caller(token))
    issuer.status, issuer.body = 200, b""
    clock.seconds += REFETCH_SECONDS
    asyncio.run(tokens.caller(token))
    issuer.status, issuer.body = status, body
    clock.seconds += KEYS_SECONDS
    assert asyncio.run(tokens.caller(token)).name == "ann"
    # A day, and not for ever: a key may be withdrawn meanwhile.
    clock.seconds += GRACE_SECONDS - KEYS_SECONDS
    for _ in range(2):
        with pytest.raises(Unavailable):
            asyncio.run(tokens.caller(token))
    issuer.status, issuer.body = 200, b""
    clock.seconds += REFETCH_SECONDS
    assert asyncio.run(tokens.caller(token)).name == "ann"


def test_a_new_key_is_fetched_for_a_token_that_names_none(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    asyncio.run(tokens.caller(issuer.token(header={"kid": None})))
    issuer.keys[:] = [RSAKey.generate_key(2048, {"kid": "two"}, private=True)]
    token = issuer.token(header={"kid": None})
    refused(tokens, token)
    clock.seconds += REFETCH_SECONDS
    assert asyncio.run(tokens.caller(token)).name == "ann"
    assert issuer.asked == 2
    # A wrong signature is no reason to ask more often.
    stranger = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
    for _ in range(3):
        refused(tokens, issuer.token(key=stranger, header={"kid": None}))
    assert issuer.asked == 2


class Slow:
    """An issuer that answers when it is told to."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.answers = issuer, threading.Event()
        self.answers.set()
        self.asked = 0

    def __call__(self, url: str) -> Json:
        self.asked += 1
        assert self.answers.wait(PATIENCE_SECONDS)
        return fetch(url)


def test_nobody_waits_for_a_slow_issuer_while_its_keys_are_known(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.access.oidc._PATIENCE_SECONDS", 0.05)
    slow = Slow(issuer)
    tokens = Tokens(Trust(ISSUER, AUDIENCE, issuer.url), slow, clock)

    async def attacked() -> None:
        assert (await tokens.caller(issuer.token())).name == "ann"
        slow.answers.clear()
        clock.seconds += KEYS_SECONDS
        stranger = RSAKey.generate_key(2048, {"kid": "stranger"}, private=True)
        flood = [asyncio.create_task(tokens.caller(issuer.token(key=stranger))) for _ in range(50)]
        try:
            for _ in range(5):
                assert (await tokens.caller(issuer.token())).name == "ann"
        finally:
            slow.answers.set()
        refusals = await asyncio.gather(*flood, return_exceptions=True)
        assert all(isinstance(each, Denied) and each.status == 401 for each in refusals)
        # New keys count as soon as they have arrived.
        issuer.keys[:] = [stranger]
        clock.seconds += KEYS_SECONDS
        assert (await tokens.caller(issuer.token(key=stranger))).name == "ann"

    asyncio.run(attacked())
    assert slow.asked == 3


def test_an_issuer_that_never_answered_is_unavailable(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.access.oidc._GIVE_UP_SECONDS", 0.05)
    slow = Slow(issuer)
    tokens = Tokens(Trust(ISSUER, AUDIENCE, issuer.url), slow, clock)

    async def asked() -> Caller:
        slow.answers.clear()
        try:
            with pytest.raises(Unavailable):
                await tokens.caller(issuer.token())
        finally:
            slow.answers.set()
        deadline = Deadline()
        while True:
            try:
                return await tokens.caller(issuer.token())
            except Unavailable as error:
                deadline.check(error)
                await asyncio.sleep(0.01)

    assert asyncio.run(asked()).name == "ann"
    assert slow.asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"NOT HTTP AT ALL\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1_000 + b"\r\n{}",
    ],
)
def test_what_is_not_http_is_an_issuer_that_is_away(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(Unavailable):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/jwks")
        thread.join()


def test_keys_that_trickle_in_are_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.access.oidc._FETCH_SECONDS", 0.3)
    issuer.pieces = 1_000
    with pytest.raises(Unavailable):
        fetch(issuer.url)
    assert issuer.sent < issuer.pieces / 2


def test_an_issuer_that_withdraws_all_keys_is_believed(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    token, nameless = issuer.token(), issuer.token(header={"kid": None})
    asyncio.run(tokens.caller(token))
    issuer.body = b'{"keys": []}'
    clock.seconds += KEYS_SECONDS
    refused(tokens, token)
    refused(tokens, nameless)
    issuer.body = b""
    clock.seconds += REFETCH_SECONDS
    assert asyncio.run(tokens.caller(token)).name == "ann"
    issuer.body = b'{"keys": []}'
    clock.seconds += KEYS_SECONDS
    refused(tokens, nameless)
    issuer.body = b""
    clock.seconds += REFETCH_SECONDS
    assert asyncio.run(tokens.caller(nameless)).name == "ann"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithms": ("RS256", "HS256")}, "HS256"),
        ({"algorithms": ("none",)}, "none"),
        ({"algorithms": ()}, "no algorithm"),
        ({"jwks_url": "http://id.example/jwks"}, "https"),
        ({"jwks_url": "file:///etc/keys"}, "https"),
    ],
)
def test_what_would_not_be_safe_cannot_be_set(changes: Json, said: str) -> None:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "https://id.example/jwks", **changes}
    with pytest.raises(ConfigurationError, match=said):
        Tokens(Trust(**given))


ODD_KEYS: list[Json] = [
    {"kty": "LMS", "kid": "post-quantum", "x": "AA"},
    {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "curve"},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "no point"},
    {"kty": "RSA", "n": "!!!", "e": "AQAB", "kid": "no base64"},
    {"kty": "RSA", "kid": "half", "n": "AQAB"},
    {"kty": "OKP", "crv": "X999", "x": "AA", "kid": "okp"},
    {"kid": "no kind"},
    {"kty": ["RSA"], "kid": "a list"},
    {"kty": "RSA", "n": 5, "e": {}, "kid": "numbers"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB", "key_ops": 5, "kid": "operations"},
]


@pytest.mark.parametrize("odd", [*ODD_KEYS, "text", None, 5, []], ids=str)
def test_one_key_that_is_not_understood_ends_no_login(
    issuer: Issuer, tokens: Tokens, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    good = KeySet(issuer.keys).as_dict(private=False)["keys"]
    issuer.body = json.dumps({"keys": [odd, *good, odd]}).encode()
    assert asyncio.run(tokens.caller(issuer.token())).name == "ann"
    assert "a key of the issuer is not understood" in caplog.text


def test_keys_for_encryption_are_not_read(
    issuer: Issuer, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where one bears the name of the key that signs."""
    good = KeySet(issuer.keys).as_dict(private=False)["keys"]
    other = RSAKey.generate_key(2048, {"kid": "one", "use": "enc"}, private=True).as_dict(private=False)
    issuer.body = json.dumps({"keys": [other, {"use": "enc", "kty": "?"}, *good]}).encode()
    assert asyncio.run(tokens.caller(issuer.token())).name == "ann"
    assert "not understood" not in caplog.text


def test_an_issuer_without_a_key_that_is_understood_is_unavailable(issuer: Issuer) -> None:
    for listed in ([], ODD_KEYS, None, {"a": 1}, "keys"):
        issuer.body = json.dumps({"keys": listed}).encode()
        with pytest.raises(Unavailable):
            asyncio.run(Tokens(Trust(ISSUER, AUDIENCE, issuer.url)).caller(issuer.token()))
