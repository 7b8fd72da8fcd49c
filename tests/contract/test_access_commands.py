"""`kith keys api` and `kith audit verify`, run as they are, against real servers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.cli.up import environment
from shared.access.audit_kafka import TopicWitness
from shared.access.audit_mongo import COLLECTION, MongoAuditLog
from shared.access.chain import INSTALLATION
from shared.access.key_uses import MongoKeyUses
from shared.access.keys import matches
from shared.access.keys_mongo import MongoKeys
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.mongo.store import connect
from shared.runtime.protocols import Document, Publisher
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.contract.test_access_audit import chain

Run = Callable[..., Result]


@pytest.fixture
def run(real_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(real_settings).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == status, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture
def database(real_settings: Settings) -> Iterator[Database[Document]]:
    with stored(real_settings) as database:
        yield database


@contextmanager
def stored(settings: Settings) -> Iterator[Database[Document]]:
    assert settings.mongo is not None
    with connect(settings.mongo) as client:
        yield client[settings.database]


def test_a_key_from_its_making_to_its_end(run: Run, database: Database[Document]) -> None:
    made = json.loads(
        run(
            *("keys", "api", "create", "--name", "till", "--scope", "events:write", "--tenant", "acme", "--json"),
            *("--mask", "personal.email", "--limit", "5/second"),
        ).stdout
    )
    store = MongoKeys(database)
    key = store.find(made["prefix"])
    assert key is not None
    assert matches(key, made["key"])
    assert (key.tenant, key.scopes, key.masks, key.limit) == (
        "acme",
        ("events:write",),
        ("personal.email",),
        "5/second",
    )
    other = run("keys", "api", "create", "--name", "me", "--all-scopes").stdout.strip()
    assert other.startswith("kith_")

    listed = run("keys", "api", "list", "--json")
    assert made["key"] not in listed.stdout
    assert [(k["name"], k["state"]) for k in json.loads(listed.stdout)] == [("till", "good"), ("me", "good")]
    assert len(json.loads(run("keys", "api", "list", "--json", "--tenant", "acme").stdout)) == 1
    MongoKeyUses(database).write(made["prefix"], datetime(2026, 11, 22, 10, 0, 5, tzinfo=UTC))
    MongoKeyUses(database).write(made["prefix"], datetime(2026, 11, 22, 9, 0, tzinfo=UTC))
    uses = {key["name"]: key["last_used"] for key in json.loads(run("keys", "api", "list", "--json").stdout)}
    assert uses == {"till": "2026-11-22T10:00:05Z", "me": None}, "an earlier use that comes later changes nothing"
    table = run("keys", "api", "list").stdout
    assert "till" in table
    assert "2026-11-22T10:00:05Z" in table
    assert "no use recorded" in table
    assert max(map(len, table.splitlines())) <= 80
    assert made["prefix"] in table, "whole, so that it can be revoked"

    new = json.loads(run("keys", "api", "rotate", made["prefix"], "--overlap-hours", "2", "--json").stdout)
    rotated = store.find(made["prefix"])
    assert rotated is not None
    assert rotated.until is not None
    assert 7000 < (rotated.until - datetime.now(UTC)).total_seconds() <= 7200
    assert run("keys", "api", "revoke", new["prefix"]).stdout.endswith("is revoked\n")
    revoked = store.find(new["prefix"])
    assert revoked is not None
    assert not revoked.valid(datetime.now(UTC))

    acme = list(MongoAuditLog(database).entries("acme"))
    assert [entry["action"] for entry in acme] == ["keys.create", "keys.rotate", "keys.revoke"]
    assert made["key"].split("_", 2)[2] not in json.dumps(acme)
    verdict = json.loads(run("audit", "verify", "--json").stdout)
    assert verdict == {
        "entries": {"acme": 3, "default": 1},
        "witnessed": {"acme": 3, "default": 1},
        "flaws": [],
    }


def test_what_makes_no_sense_is_said(run: Run) -> None:
    assert "events:write" in run("keys", "api", "create", "--name", "x", status=2).output
    for arguments in (
        ("create", "--name", "x", "--scope", "root"),
        ("revoke", "nobody00"),
        ("rotate", "nobody00"),
    ):
        found = run("keys", "api", *arguments, status=1)
        assert isinstance(found.exception, ConfigurationError)


def test_what_is_done_to_dead_letters_is_on_record_with_what_it_was_done_to(
    run: Run, database: Database[Document]
) -> None:
    run("dead-letters", "discard", "--reason-text", "old", "--since", "2000-01-01", "--tenant", "acme")
    run("dead-letters", "replay", "--reason", "invalid")
    run("dead-letters", "replay", "--reason", "invalid", "--dry-run")
    entries = list(MongoAuditLog(database).entries(INSTALLATION))
    assert [(entry["action"], entry["key"]) for entry in entries] == [
        ("dead_letters.discard", "command"),
        ("dead_letters.replay", "command"),
    ]
    assert entries[0]["subject"] == {"tenant": "acme", "since": "2000-01-01 00:00:00+00:00"}
    assert entries[1]["subject"] == {"reason": "invalid"}
    assert all(entry["who"] for entry in entries)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda c: c.update_one({"sequence": 2}, {"$set": {"who": "nobody"}}), "changed: default, entry 2"),
        (lambda c: c.delete_one({"sequence": 2}), "missing: default, entry 2"),
        (lambda c: c.delete_one({"sequence": 3}), "cut: default, entry 3"),
        (lambda c: c.delete_many({}), "cut: default, entry 1"),
    ],
)
def test_harm_to_the_audit_shows(run: Run, database: Database[Document], harm: Any, said: str) -> None:
    for _ in range(3):
        run("keys", "api", "create", "--name", "x", "--scope", "admin")
    assert "The audit is intact." in run("audit", "verify").stdout
    harm(database[COLLECTION])
    found = run("audit", "verify", status=1).stdout
    assert said in found
    assert "not intact" in found
    assert json.loads(run("audit", "verify", "--json", status=1).stdout)["flaws"]
    assert "is intact" in run("audit", "verify", "--tenant", "other").stdout


def test_the_topic_gets_what_waited_while_kafka_was_away() -> None:
    log = MemoryLog({"kith.audit": 1})
    tries = 0

    def open() -> Publisher:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("Kafka is unavailable")
        return MemoryPublisher(log)

    witness = TopicWitness(open, "kith.audit")
    entries = chain(700)
    witness.forward(entries[:300])
    witness.forward(entries[300:])
    witness.close()
    (records,) = log.records.values()
    assert [json.loads(record.value or b"") for record in records] == entries
    assert {record.key for record in records} == {b"acme"}
