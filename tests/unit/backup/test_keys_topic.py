"""What a restore of keys from their topic asks for before it drops anything."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.backup import keys_topic, restore
from shared.contracts.errors import ConfigurationError
from shared.settings import Settings
from tests.unit.backup.test_log import Scan

SETTINGS = Settings(kafka="127.0.0.1:1", mongo="mongodb://127.0.0.1:1")


def test_keys_that_only_the_topic_has_are_not_left_to_be_replaced(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"keys_topic": "on"})
    with pytest.raises(ConfigurationError, match="--keys-from-topic"):
        restore.restore(settings, tmp_path, None, False, lambda _: None)


def test_a_topic_that_is_missing_is_noticed_before_the_database_is_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def touched(*_: Any) -> None:
        raise AssertionError("the database is touched")

    source = SimpleNamespace(folders={}, data=SimpleNamespace(topics={}, moment=""))
    monkeypatch.setattr(restore, "open_source", lambda *_: source)
    monkeypatch.setattr(restore, "check_no_members", lambda _: None)
    monkeypatch.setattr(restore, "check_positions", lambda *_: None)
    monkeypatch.setattr(restore, "read_ledger", lambda _: {})
    monkeypatch.setattr(restore, "connect", touched)
    monkeypatch.setattr(keys_topic, "LogScan", type("Empty", (Scan,), {"bounds_of": {}, "records": {}}))
    with pytest.raises(ConfigurationError, match="KITH_KEYS_TOPIC"):
        restore.restore(SETTINGS, tmp_path, None, True, lambda _: None, keys_topic=True)
