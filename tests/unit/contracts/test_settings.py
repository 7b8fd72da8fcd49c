"""What a setting is when its variable is empty, as compose passes it on from a file."""

import pytest

from shared.service.launch import read_settings, settings_from
from shared.settings import Settings


@pytest.mark.parametrize("field", Settings.model_fields)
def test_an_empty_variable_is_none_at_all(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = read_settings()
    monkeypatch.setenv(f"KITH_{field}".upper(), "")
    assert read_settings() == default


def test_an_empty_variable_is_completed_by_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_MONGO", "")
    monkeypatch.setenv("KITH_POSTGRES_FILE", "")
    with settings_from(lambda: {"mongo": "mongodb://of-a-stack", "postgres": "postgresql://of-a-stack"}):
        settings = read_settings()
    assert settings.mongo == "mongodb://of-a-stack"
    assert settings.postgres is not None


def test_all_of_them_may_be_empty_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    default = read_settings()
    for field in Settings.model_fields:
        monkeypatch.setenv(f"KITH_{field}".upper(), "")
    assert read_settings() == default
