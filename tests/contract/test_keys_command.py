"""`kith keys master` and `kith keys rotate`, with the keys in a real MongoDB."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.keys.app import keys_app
from shared.mongo.store import connect, prepare
from shared.settings import Settings
from shared.vault import rotation
from shared.vault.keys import Vault
from shared.vault.master import FileKeys
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.schema import COLLECTIONS
from shared.vault.tokens import DataKey


def command(*arguments: str) -> Any:
    result = CliRunner().invoke(keys_app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def file(real_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("kafka", "mongo", "topic_prefix", "database"):
        monkeypatch.setenv(f"KITH_{name.upper()}", getattr(real_settings, name))
    monkeypatch.setenv("KITH_ENCRYPTION", "on")
    monkeypatch.setenv("KITH_MASTER_KEY_FILE", str(tmp_path / "master.key"))
    monkeypatch.setattr(rotation, "SETTLE_SECONDS", 0.0)
    return tmp_path / "master.key"


def secrets(vault: Vault) -> dict[str, bytes]:
    keys = vault.keys("t", [f"c{n}" for n in range(50)])
    return {id: key.secret for id, key in keys.items() if isinstance(key, DataKey)}


def test_a_new_master_key_takes_over_and_the_old_one_can_go(file: Path, real_settings: Settings) -> None:
    assert real_settings.mongo is not None
    first = command("master", "new")["id"]
    with connect(real_settings.mongo) as client:
        database = client[real_settings.database]
        prepare(database, COLLECTIONS)
        running = Vault(MongoKeyStore(database), FileKeys(file), life_seconds=0.0)
        before = secrets(running)
        second = command("master", "new")["id"]
        assert [(row["id"], row["current"], row["data_keys"]) for row in command("master", "list")["items"]] == [
            (second, True, 0),
            (first, False, 50),
        ]
        done = command("rotate")
        assert (done["data_keys"], done["wrapping_key"], done["master_key"]) == (50, 2, second)
        assert [(row["id"], row["data_keys"]) for row in command("master", "list")["items"]] == [
            (second, 50),
            (first, 0),
        ]
        # The file without the old key is all that is needed.
        file.write_text(file.read_text().splitlines()[0] + "\n")
        assert secrets(Vault(MongoKeyStore(database), FileKeys(file))) == before
        assert secrets(running) == before, "what runs goes on"


def test_a_key_that_the_database_needs_and_nobody_has_is_shown(file: Path, real_settings: Settings) -> None:
    assert real_settings.mongo is not None
    lost = command("master", "new")["id"]
    with connect(real_settings.mongo) as client:
        secrets(Vault(MongoKeyStore(client[real_settings.database]), FileKeys(file)))
    file.unlink()
    command("master", "new")
    [_, row] = command("master", "list")["items"]
    assert (row["id"], row["here"], row["data_keys"]) == (lost, False, 50)


def test_a_key_for_the_environment_is_printed_and_nothing_written(file: Path) -> None:
    key = command("master", "new", "--print")["key"]
    assert len(key) == 44
    assert not file.exists()


def test_a_file_named_outright_is_made(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    assert command("master", "new", str(other))["file"] == str(other)
    assert other.exists()
    assert not file.exists()
