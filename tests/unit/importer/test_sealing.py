"""An import with a vault: sealed as at the door."""

import json
from pathlib import Path

import pytest

from shared.contracts.codec import decode
from shared.contracts.errors import Unavailable
from shared.vault.fields import first_plaintext_path, values
from shared.vault.keys import Vault
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.tokens import DataKey, unseal
from tests.support.importer import Recorder, imported, rejected, visits
from tests.support.vault import memory_vault


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    rows = "".join(f"c{n % 300},p{n},MARKER {n}\n" for n in range(1_200))
    (tmp_path / "v.csv").write_text("who,where,said\n" + rows + "c1,p1,\n")
    return visits(tmp_path, "v.csv", fields='text = "said"')


class World:
    def __init__(self) -> None:
        self.store, self.recorder = MemoryKeyStore(), Recorder()
        self.vault: Vault = memory_vault(self.store)


def test_every_personal_value_is_sealed_under_its_consumers_key(mapping: Path) -> None:
    world = World()
    report = imported(mapping, world.recorder, vault=world.vault)
    assert (report.accepted, report.rejected, len(world.recorder.messages)) == (1_201, 0, 1_201)
    assert not any(b"MARKER" in message.value for message in world.recorder.messages)
    events = [decode(message.value) for message in world.recorder.messages]
    assert [first_plaintext_path(event) for event in events] == [None] * 1_201
    for number, event in enumerate(events[:1_200]):
        consumer_id = event.data.consumer_id  # type: ignore[union-attr]
        key = world.vault.keys("default", [consumer_id])[consumer_id]
        assert isinstance(key, DataKey)
        [(path, token)] = values(event)
        assert unseal(key, "default", consumer_id, path, str(token)) == f"MARKER {number}"


def test_keys_are_asked_for_by_the_batch(mapping: Path) -> None:
    world = World()
    imported(mapping, world.recorder, vault=world.vault)
    assert world.store.finds == 1, "the second and third batch know the keys already"


def test_the_same_import_twice_is_the_same_bytes(mapping: Path) -> None:
    world = World()
    imported(mapping, world.recorder, vault=world.vault)
    imported(mapping, world.recorder, vault=memory_vault(world.store))
    first, second = world.recorder.messages[:1_201], world.recorder.messages[1_201:]
    assert first == second


def test_who_is_erased_is_rejected_with_the_reason(mapping: Path) -> None:
    world = World()
    world.vault.destroy("default", "c7")
    report = imported(mapping, world.recorder, vault=world.vault)
    assert (report.accepted, report.rejected) == (1_197, 4)
    found = rejected(mapping)
    assert {(one["reason"], one["field"]) for one in found} == {("suppressed", "data.consumer_id")}
    assert [one["row"]["who"] for one in found] == ["c7"] * 4
    assert not any(b'"c7"' in message.value for message in world.recorder.messages)


def test_a_token_in_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where,said\nc1,p1,kith1." + "A" * 60 + "\n")
    report = imported(visits(tmp_path, "v.csv", fields='text = "said"'), Recorder(), vault=memory_vault())
    assert (report.accepted, report.rejected) == (0, 1)
    assert rejected(tmp_path / "mapping.toml")[0]["reason"] == "sealed"


def test_without_keys_nothing_personal_goes_out(mapping: Path) -> None:
    world = World()
    world.store.available = False
    with pytest.raises(Unavailable):
        imported(mapping, world.recorder, vault=world.vault)
    assert world.recorder.messages == []


def test_without_a_vault_events_are_as_they_were(mapping: Path) -> None:
    recorder = Recorder()
    imported(mapping, recorder)
    assert json.loads(recorder.messages[0].value)["data"]["text"] == "MARKER 0"
