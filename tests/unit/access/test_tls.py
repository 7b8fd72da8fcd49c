"""The door over TLS, with certificates that are made here."""

import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.contracts.errors import ConfigurationError
from shared.http.tls import tls_of
from shared.settings import Settings
from tests.support.certificates import Authority, Files
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS


@contextmanager
def door(**settings: str) -> Iterator[str]:
    """A door without Kafka; its address."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    own = {"access": "open", "encryption": "off", "kafka": "127.0.0.1:1", "ingest_port": "0", **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.ingest"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**clean, **{f"KITH_{name.upper()}": value for name, value in own.items()}},
    )
    with process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"url=(\S+)", line):
                    break
            else:
                raise AssertionError("the door does not listen")
            yield found[1]
        finally:
            process.kill()  # how a door ends in order is tested elsewhere
            process.communicate(timeout=PATIENCE_SECONDS)


def trusting(authority: Authority, client: Files | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if client is not None:
        context.load_cert_chain(client.cert, client.key)
    return context


def get(url: str, context: ssl.SSLContext) -> httpx.Response:
    with httpx.Client(verify=context, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        return client.get(f"{url}/health/live")


def test_with_a_certificate_the_door_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server")
    with door(tls_cert_file=str(server.cert), tls_key_file=str(server.key)) as url:
        assert url.startswith("https://")
        answer = get(url, trusting(authority))
        assert (answer.status_code, answer.json()) == (200, {"status": "live"})
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        with pytest.raises(httpx.ConnectError):
            get(url, trusting(Authority(tmp_path, "stranger")))
        with pytest.raises(httpx.RemoteProtocolError):
            get(url.replace("https", "http"), trusting(authority))


def test_with_an_authority_for_clients_it_refuses_who_shows_no_certificate_of_it(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, known, unknown = authority.issue("server"), authority.issue("client"), stranger.issue("unknown")
    settings = {"tls_cert_file": server.cert, "tls_key_file": server.key, "tls_client_ca_file": authority.file}
    with door(**{name: str(file) for name, file in settings.items()}) as url:
        assert get(url, trusting(authority, known)).status_code == 200
        for context in (trusting(authority), trusting(authority, unknown)):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                get(url, context)


def test_half_a_setting_is_none(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("server")
    assert tls_of(Settings()) is None
    for half in (Settings(tls_cert_file=str(files.cert)), Settings(tls_key_file=str(files.key))):
        with pytest.raises(ConfigurationError, match="belong together"):
            tls_of(half)
    with pytest.raises(ConfigurationError, match="belong together"):
        tls_of(Settings(tls_client_ca_file=str(files.cert)))


def test_files_that_cannot_be_used_are_a_wrong_setting(tmp_path: Path) -> None:
    files, other = Authority(tmp_path).issue("server"), Authority(tmp_path, "stranger").issue("other")
    for cert, key in ((files.cert, other.key), (files.cert, tmp_path / "none"), (tmp_path / "none", files.key)):
        with pytest.raises(ConfigurationError, match="KITH_TLS"):
            tls_of(Settings(tls_cert_file=str(cert), tls_key_file=str(key)))
