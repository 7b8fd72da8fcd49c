"""Secrets in files: read without the line's end, and what is wrong is named without a value."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings, settings_from
from shared.settings import SECRETS, Settings

ENOUGH = "s3cret" * 6


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_read_from_its_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{ENOUGH}\n")
    monkeypatch.setenv(f"KITH_{name.upper()}_FILE", str(path))
    # It wins over what a running stack would say.
    with settings_from(lambda: {name: "of a stack"}):
        settings = read_settings()
    found = getattr(settings, name)
    assert (found.get_secret_value() if isinstance(found, SecretStr) else found) == ENOUGH
    assert ENOUGH not in repr(settings)
    # As a process gets it from one that has read the file.
    monkeypatch.setenv(f"KITH_{name.upper()}", ENOUGH)
    assert getattr(read_settings(), name) == found


def test_every_secret_may_be_in_a_file() -> None:
    """The master keys have a file of their own form."""
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret - {"master_key"} <= set(SECRETS)
    assert {f"{name}_file" for name in SECRETS} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "is not text in UTF-8"),
    ],
)
def test_a_file_that_has_no_secret_is_named(
    content: bytes | None, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("KITH_MONGO_FILE", str(path))
    with pytest.raises(ConfigurationError, match=f"KITH_MONGO_FILE: {path} {complaint}"):
        read_settings()


def test_two_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("one")
    monkeypatch.setenv("KITH_KAFKA_PASSWORD_FILE", str(path))
    monkeypatch.setenv("KITH_KAFKA_PASSWORD", "another")
    with pytest.raises(
        ConfigurationError, match="KITH_KAFKA_PASSWORD and KITH_KAFKA_PASSWORD_FILE are both set"
    ) as it:
        read_settings()
    assert "another" not in str(it.value)
