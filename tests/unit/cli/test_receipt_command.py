"""`kith receipt verify` and `kith erase`, without servers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey
from typer.testing import CliRunner, Result

from services.cli.__main__ import app as kith
from services.cli.receipt import NotGenuine, verified

KEY = ECKey.generate_key("P-256", parameters={"kid": "receipts-1"})
OTHER = ECKey.generate_key("P-256", parameters={"kid": "receipts-1"})
JWKS = {"keys": [{**KEY.as_dict(private=False), "alg": "ES256", "use": "sig"}]}
CLAIMS: dict[str, Any] = {
    "iss": "kith/privacy",
    "sub": "15f7",
    "iat": 1_764_000_000,
    "tenant": "default",
    "consumer_id": "ada",
    "mode": "delete",
    "asked": "2026-11-21T12:00:00+00:00",
    "steps": ["accepted", "profile"],
}


def signed(claims: Any = CLAIMS, key: ECKey = KEY, typ: str = "kith-receipt+jws") -> str:
    header = {"alg": "ES256", "kid": "receipts-1", "typ": typ}
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=["ES256"])


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(kith, list(arguments), input=given)


def test_a_genuine_receipt_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(JWKS))
    keys = ("--keys", str(tmp_path / "keys.json"))
    for number, text in enumerate((signed(), signed() + "\n", json.dumps({"done": True, "receipt": signed()}))):
        file = tmp_path / f"receipt-{number}"
        file.write_text(text)
        result = run("receipt", "verify", str(file), *keys)
        assert result.exit_code == 0, result.output
        assert "The receipt is genuine." in result.output
        assert "Consumer   ada" in result.output
    told = json.loads(run("receipt", "verify", "-", *keys, "--json", given=signed()).stdout)
    assert told == {"genuine": True, **CLAIMS, "kid": "receipts-1"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (signed(key=OTHER), "no public key"),
        (signed(typ="JWT"), "no receipt of an erasure"),
        (signed({**CLAIMS, "iss": "somebody"}), "no receipt of an erasure"),
        (signed({name: value for name, value in CLAIMS.items() if name != "mode"}), "it lacks mode"),
        (signed([1]), "no receipt of an erasure"),
        ("", "no public key"),
        ("nonsense", "no public key"),
        (json.dumps({"done": False, "receipt": None}), "no receipt yet"),
        ("{", "JSON without a receipt"),
    ],
)
def test_what_is_not_genuine_says_why(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(JWKS))
    (tmp_path / "receipt").write_text(text)
    result = run("receipt", "verify", str(tmp_path / "receipt"), "--keys", str(tmp_path / "keys.json"))
    assert result.exit_code == 1, result.output + repr(result.exception)
    assert says in result.output


@given(st.data())
def test_no_changed_receipt_is_genuine(data: st.DataObject) -> None:
    receipt = signed()
    at = data.draw(st.integers(0, len(receipt) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHabcdefgh01234567-_."))
    changed = receipt[:at] + letter + receipt[at + 1 :]
    if changed == receipt:
        return
    try:
        found = verified(changed, JWKS)
    except NotGenuine:
        return
    # The last letter of each part holds bits that no byte needs.
    assert {name: found[name] for name in CLAIMS} == CLAIMS


def test_keys_that_are_none_are_said(tmp_path: Path) -> None:
    (tmp_path / "receipt").write_text(signed())
    for content in ("{", "{}", '{"keys": [{"kty": "EC"}]}'):
        (tmp_path / "keys.json").write_text(content)
        result = run("receipt", "verify", str(tmp_path / "receipt"), "--keys", str(tmp_path / "keys.json"))
        assert "keys" in str(result.exception), content
    result = run("receipt", "verify", str(tmp_path / "no-such-file"))
    assert "cannot be read" in str(result.exception)


class Privacy:
    """A privacy service that accepts erasures and is done with the third look."""

    def __init__(self, done_after: int = 3, status: int = 202) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.done_after, self.status, self.looks = done_after, status, 0

    @contextmanager
    def served(self) -> Iterator[str]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_DELETE(self) -> None:
                body = (
                    {"erasure": "15f7", "mode": "delete"}
                    if service.status == 202
                    else {"detail": "no scope admin"}
                )
                self.answer(service.status, body)

            def do_GET(self) -> None:
                service.looks += 1
                done = service.looks >= service.done_after
                steps = [{"name": "accepted", "done": True, "means": "it is in Kafka"}]
                steps += [{"name": "key", "done": done, "means": "the key is destroyed"}]
                self.answer(200, {"done": done, "steps": steps, "receipt": signed() if done else None})

            def answer(self, status: int, body: Any) -> None:
                service.asked.append((self.command, self.path, self.headers["Authorization"]))
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def test_an_erasure_is_asked_for_with_its_mode_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_KEY", "kith_secret")
    service = Privacy()
    with service.served() as url:
        result = run("erase", "ada/1 2", "--mode", "delete", "--reason", "request 4711", "--yes", "--url", url)
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert service.asked == [
        ("DELETE", "/v1/consumers/ada%2F1%202?mode=delete&reason=request%204711", "Bearer kith_secret")
    ]
    assert "15f7" in result.output


def test_it_waits_for_the_receipt_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_KEY", "kith_secret")
    file = tmp_path / "receipt"
    with Privacy().served() as url:
        result = run("erase", "ada", "--mode", "delete", "--yes", "--url", url, "--receipt", str(file))
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert verified(file.read_text(), JWKS)["consumer_id"] == "ada"
    with Privacy(done_after=10**9).served() as url:
        late = run("erase", "ada", "--mode", "delete", "--yes", "--url", url, "--wait", "--wait-seconds", "1")
    assert late.exit_code == 1
    assert "Not done within 1 s: key" in late.output


def test_nothing_is_erased_without_a_yes() -> None:
    service = Privacy()
    with service.served() as url:
        result = run("erase", "ada", "--mode", "delete", "--url", url)
    assert result.exit_code != 0
    assert "--yes" in str(result.exception)
    assert service.asked == []


def test_a_refusal_says_what_the_service_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KITH_KEY", raising=False)
    for status in (401, 403):
        with Privacy(status=status).served() as url:
            result = run("erase", "ada", "--mode", "delete", "--yes", "--url", url)
        assert "no scope admin" in str(result.exception)
        assert ("KITH_KEY" in str(result.exception)) == (status == 401)
    result = run("erase", "ada", "--mode", "delete", "--yes", "--url", "http://127.0.0.1:9")
    assert "the privacy service at http://127.0.0.1:9" in str(result.exception)
