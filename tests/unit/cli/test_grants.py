"""Passwords of users from files: a missing or weak one is named before anything is granted."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.grants import passwords_in
from shared.contracts.errors import ConfigurationError

ENOUGH = "0123456789abcdef"


def test_a_password_is_read_without_the_end_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "ingest.password").write_text(f"{ENOUGH}\n")
    assert passwords_in(tmp_path, {"ingest": None}) == {"ingest": ENOUGH}


def test_every_file_that_is_missing_or_too_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "ingest.password").write_text(ENOUGH[1:])
    (tmp_path / "apps.password").write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigurationError) as caught:
        passwords_in(tmp_path, dict.fromkeys(("ingest", "relations", "apps")))
    assert f"{tmp_path}/ingest.password (shorter than 16 characters)" in str(caught.value)
    assert f"{tmp_path}/relations.password (No such file or directory)" in str(caught.value)
    assert f"{tmp_path}/apps.password (is not text)" in str(caught.value)
    assert ENOUGH[1:] not in str(caught.value)


def test_no_server_is_asked_before_the_passwords_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITH_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("KITH_MONGO", "mongodb://127.0.0.1:1")
    done = CliRunner().invoke(app, ["privileges", "--apply", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert "operator.password" in str(done.exception)
