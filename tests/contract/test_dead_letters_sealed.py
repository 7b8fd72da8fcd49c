"""Sealed dead letters on real servers: looked at, mended and replayed, with nothing in plain text in between."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer
from pymongo.database import Database

from services.relations.factory import build_projection, with_keys
from services.relations.schema import COLLECTIONS
from shared.kafka.python_client.reader import connection
from shared.mongo.store import MongoStore, connect, prepare
from shared.runtime.dead_letters import KEPT_BYTES
from shared.runtime.protocols import Document
from shared.runtime.runner import Runner
from shared.settings import Settings
from shared.vault.master import add_to_file
from shared.vault.open import vault_in
from shared.vault.schema import COLLECTIONS as VAULT
from tests.contract.test_dead_letters import Service, event
from tests.support.logs import read_topics
from tests.support.waiting import PATIENCE_SECONDS

BAD = event(amount="a lot", text="MARKER")
EARLY = event("e2", amount=100, text="MARKER", relation="r2").replace(b"2026-11-21", b"2087-11-21")


class SealedService(Service):
    """The same with a vault."""

    def __init__(self, settings: Settings, database: Database[Document], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(settings, database, monkeypatch)
        assert settings.master_key_file is not None
        monkeypatch.setenv("KITH_MASTER_KEY_FILE", settings.master_key_file)
        prepare(database, VAULT)
        vault = vault_in(settings, database)
        assert vault is not None
        self.vault, self.settings = vault, settings
        self.runner = Runner(
            self.reader,
            with_keys(MongoStore(database, COLLECTIONS), vault),
            self.publisher,
            build_projection(settings, vault),
            owner="test",
            dead_letters=self.topics.name("dead-letters"),
        )

    def everything(self) -> bytes:
        """All documents, and all messages of topics that Kith writes."""
        documents = repr([list(self.database[name].find()) for name in self.database.list_collection_names()])
        names = [self.topics.name(short) for short in ("dead-letters", "relation-changes", "relations")]
        return documents.encode() + b"".join(self.values(*names))

    def values(self, *names: str) -> list[bytes]:
        return [record.value or b"" for record in read_topics(self.settings, *names)]


@pytest.fixture
def service(real_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SealedService]:
    add_to_file(tmp_path / "master.key")
    sealed = {"encryption": "on", "master_key_file": str(tmp_path / "master.key")}
    settings = real_settings.model_copy(update=sealed)
    assert settings.mongo is not None
    with connect(settings.mongo) as client:
        service = SealedService(settings, client[settings.database], monkeypatch)
        with closing(service):
            yield service


def test_a_letter_is_shown_as_it_came(service: SealedService) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [letter] = service.open_letters()
    assert (letter["reason"], letter["event_id"]) == ("invalid", "e1")
    shown = service.command("show", letter["id"])
    assert shown["value"] == json.loads(BAD)
    assert shown["headers"] == []
    stored = service.database["dead_letters"].find_one({"_id": letter["id"]})
    assert b"MARKER" not in repr(stored).encode()


def test_what_would_be_refused_again_is_not_published(service: SealedService) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [letter] = service.open_letters()
    done = service.command("replay", letter["id"])
    assert (done["replayed"], done["left_out"]) == (0, [letter["id"]])
    assert service.open_letters() == [letter]


def test_a_mended_event_goes_sealed(service: SealedService, tmp_path: Path) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [letter] = service.open_letters()
    mended = tmp_path / "mended.json"
    mended.write_bytes(event(amount=100, text="MARKER"))
    assert service.command("replay", letter["id"], "--value", str(mended))["replayed"] == 1
    service.wait(letters=0, facts=1)
    there = service.values(service.topics.name("relations"))
    assert [b"MARKER" in value for value in sorted(there, key=len)] == [True, False], (
        "only what came in plain text"
    )
    service.vault.destroy("default", "c1")
    assert "erased" in service.command("replay", letter["id"], "--value", str(mended), status=2)


def test_an_event_whose_time_has_come_is_replayed_sealed(service: SealedService) -> None:
    service.publish(EARLY)
    service.wait(letters=1)
    [letter] = service.open_letters()
    assert letter["reason"] == "in_the_future"
    assert service.command("replay", letter["id"])["replayed"] == 1
    service.wait(letters=1)
    there = service.values(service.topics.name("relations"))
    assert [b"MARKER" in value for value in sorted(there, key=len)] == [True, False]


def test_of_who_is_erased_nothing_is_shown_or_published(service: SealedService) -> None:
    service.publish(EARLY)
    service.wait(letters=1)
    [letter] = service.open_letters()
    service.vault.destroy("default", "c1")
    assert service.command("show", letter["id"])["value"] is None
    assert service.command("replay", letter["id"])["left_out"] == [letter["id"]]


def test_of_a_message_that_is_too_large_what_is_kept_is_sealed(service: SealedService) -> None:
    large = event(text="MARKER" * 500_000)
    topic = service.topics.name("relations")
    options = {"compression_type": "gzip", "max_request_size": 50_000_000, "acks": "all"}
    with closing(KafkaProducer(**connection(service.settings), **options)) as producer:
        producer.send(topic, large, b"default:c1").get(PATIENCE_SECONDS)
    service.wait(letters=1)
    [letter] = service.open_letters()
    assert letter["cut"] == {"key_bytes": 10, "value_bytes": len(large), "headers": 0}
    assert service.command("show", letter["id"])["value"] == large[:KEPT_BYTES].decode()
    assert b"MARKER" not in repr(service.database["dead_letters"].find_one()).encode()
    service.vault.destroy("default", "c1")
    assert service.command("show", letter["id"])["value"] is None


def test_without_the_vault_a_sealed_letter_cannot_be_opened(
    service: SealedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [letter] = service.open_letters()
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    assert service.command("list")["items"] == [letter]
    service.command("show", letter["id"], status=1)
