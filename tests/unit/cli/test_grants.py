"""Passwords of users from files: a missing or weak one is named before anything is granted."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest
from kafka.admin import KafkaAdminClient
from kafka.errors import ClusterAuthorizationFailedError, KafkaError
from typer.testing import CliRunner

from services.cli import grants
from services.cli.__main__ import app
from services.cli.grants import passwords_in
from shared.contracts.errors import ConfigurationError
from shared.settings import Settings

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


def test_what_kafka_refuses_is_an_error_though_its_client_raises_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python returns refusals as its answer."""

    def open_admin(failed: list[type[KafkaError]], answer: str | None) -> None:
        admin = create_autospec(KafkaAdminClient, instance=True)
        admin.alter_user_scram_credentials.return_value = {"kith-ingest": answer}
        admin.create_acls.return_value = {"succeeded": [], "failed": failed}
        monkeypatch.setattr(grants, "opened", lambda *_, **_options: admin)

    open_admin([], None)
    grants._in_kafka(Settings(kafka="127.0.0.1:1"), {"ingest": ENOUGH})
    open_admin([ClusterAuthorizationFailedError], None)
    with pytest.raises(ConfigurationError, match="ACLs: ClusterAuthorizationFailedError"):
        grants._in_kafka(Settings(kafka="127.0.0.1:1"), {"ingest": ENOUGH})
    open_admin([], "Cluster authorization failed.")
    with pytest.raises(ConfigurationError, match="kith-ingest: Cluster authorization failed"):
        grants._in_kafka(Settings(kafka="127.0.0.1:1"), {"ingest": ENOUGH})
