"""Backup and restore on real servers: keys, erasures, the audit, and what does not fit."""

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from pymongo.database import Database

from services.backup.claim import Claim
from services.backup.dump import Part, backup
from services.backup.files import MANIFEST, TopicEnds, read_manifest, write_manifest
from services.backup.restore import Restored, restore
from services.explain.log import LogScan
from shared.access.acts import recorder
from shared.access.audit_mongo import MongoAuditLog
from shared.access.chain import INSTALLATION
from shared.access.keys import ApiKeys
from shared.access.keys_mongo import MongoKeys
from shared.access.verify import Witnessed, verify
from shared.contracts.codec import encode
from shared.contracts.errors import ConfigurationError
from shared.contracts.events import event_key
from shared.contracts.topics import AUDIT, LEDGER, WRAPPED_KEYS, Topics
from shared.erasure.records import LedgerEntry, erasure_id
from shared.kafka.clients import open_publisher, open_reader
from shared.kafka.topics_admin import ensure_topics
from shared.mongo.restores import RESTORES, RUNNING, restore_problems
from shared.mongo.store import connect, prepare
from shared.runtime.protocols import Document, Message, Partition, Record
from shared.settings import Settings
from shared.vault.dead_letters import conceal
from shared.vault.key_records import key_messages
from shared.vault.lost import LostKeys
from shared.vault.master import EnvironmentKeys
from shared.vault.open import key_store, vault_in
from shared.vault.protocols import Wrapped
from shared.vault.rotation import rotate
from shared.vault.schema import COLLECTIONS, DATA_KEYS
from shared.vault.sealing import keys_for, sealed
from shared.vault.tokens import DataKey, seal
from tests.support.builders import event
from tests.support.status import read_status
from tests.support.vault import MASTER_KEY
from tests.support.waiting import PATIENCE_SECONDS

NOW = datetime(2026, 11, 29, tzinfo=UTC)


class Installation:
    """Topics and a database with personal data, as the services leave them, without a worker."""

    def __init__(self, settings: Settings, database: Database[Document], folder: Path) -> None:
        self.settings, self.database, self._folder = settings, database, folder
        self.topics = Topics(settings.topic_prefix)
        self._backups = 0
        vault = vault_in(settings, database)
        assert vault is not None
        self.vault = vault
        prepare(database, COLLECTIONS)
        self.keys = ApiKeys(MongoKeys(database), lambda: datetime.now(UTC))

    def send(self, message: Message) -> None:
        with closing(open_publisher(self.settings)) as publisher:
            publisher.send([message]).result(PATIENCE_SECONDS)

    def profile(self, consumer_id: str) -> None:
        """A profile arrives at the door, and is stored as if by a worker."""
        data = {"consumer_id": consumer_id, "personal": {"name": consumer_id.title()}}
        events = [event("consumer.upserted", f"e-{consumer_id}", "2026-01-01T00:00:00Z", data)]
        [one] = sealed(events, keys_for(self.vault, events))
        assert one is not None
        self.send(Message(self.topics.of(one), event_key(one), encode(one), 0))
        self.database["consumers"].insert_one({"_id": f"default:{consumer_id}", "tenant": "default"})
        self.database["positions"].update_one(
            {"_id": f"relations@1/{self.topics.name('consumers')}/0"},
            {"$inc": {"next": 1}, "$set": {"owner": "host/1", "epoch": 3}},
            upsert=True,
        )

    def erase(self, consumer_id: str) -> None:
        entry = LedgerEntry(
            erasure=erasure_id("default", consumer_id),
            tenant="default",
            consumer_id=consumer_id,
            mode="delete",
            time=NOW,
        )
        self.send(Message(self.topics.name(LEDGER), consumer_id.encode(), entry.model_dump_json().encode()))
        self.vault.destroy("default", consumer_id)

    def act(self, action: str, subject: dict[str, str], tenant: str = "default") -> None:
        with recorder(self.settings, self.database) as acts:
            acts.record(tenant, action, subject)

    def act_unpublished(self, action: str, subject: dict[str, str]) -> None:
        """Recorded, but not in the topic: a restore cannot find it."""
        offline = self.settings.model_copy(update={"kafka": None})
        with recorder(offline, self.database) as acts:
            acts.record("default", action, subject)

    def back_up(self, part: Part = "all") -> Path:
        self._backups += 1
        folder = self._folder / f"backup-{self._backups}"
        backup(self.settings, folder, part, lambda _: None)
        return folder

    def restore(
        self, folder: Path, keys: Path | None = None, *, replace: bool = False, keys_topic: bool = False
    ) -> Restored:
        return restore(self.settings, folder, keys, replace, lambda _: None, keys_topic=keys_topic)

    def opened(self, *consumer_ids: str) -> dict[str, bytes | None]:
        """Their keys, as a process that starts now finds them; None where it is destroyed."""
        vault = vault_in(self.settings, self.database, seals=False)
        assert vault is not None
        found = vault.keys("default", consumer_ids, create=False)
        return {id: key.secret if isinstance(key, DataKey) else None for id, key in found.items()}

    def lose(self) -> None:
        self.database.client.drop_database(self.database.name)

    def contents(self) -> dict[str, list[Document]]:
        return {
            name: list(self.database[name].find().sort("_id", 1))
            for name in sorted(self.database.list_collection_names())
            if name not in (RESTORES, "audit")
        }

    def audit_flaws(self) -> list[tuple[str, str, int]]:
        seen = Witnessed()
        with LogScan(self.settings) as scan:
            scan.read(scan.bounds([self.topics.name(AUDIT)]), seen.take)
        flaws = verify(MongoAuditLog(self.database), seen.hashes, None).flaws
        return [(flaw.tenant, flaw.kind, flaw.sequence) for flaw in flaws]


@pytest.fixture
def place(real_settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    update = {"encryption": "on", "master_key": SecretStr(MASTER_KEY)}
    settings = real_settings.model_copy(update=update)
    assert settings.mongo is not None
    with connect(settings.mongo) as client:
        yield Installation(settings, client[settings.database], tmp_path)


@pytest.fixture
def with_topic(place: Installation, tmp_path: Path) -> Installation:
    """The same with a topic of wrapped keys, which it has had from the start."""
    settings = place.settings.model_copy(update={"keys_topic": "on"})
    ensure_topics(settings)
    return Installation(settings, place.database, tmp_path / "with-topic")


def test_what_was_stored_comes_back_as_it_was(place: Installation) -> None:
    for name in ("ann", "bob"):
        place.profile(name)
    place.database["workers"].insert_one({"_id": "relations/host/1"})
    folder = place.back_up()
    before, indexes = place.contents(), place.database[DATA_KEYS].index_information()
    validators = {each["name"]: each["options"] for each in place.database.list_collections()}
    place.lose()
    done = place.restore(folder)
    assert (done.lost_keys, done.destroyed, done.revoked, done.lost_entries) == ([], 0, 0, 0)
    # Signs of life belong to the database that ran.
    assert place.contents() == {name: found for name, found in before.items() if name != "workers"}
    assert place.database[DATA_KEYS].index_information() == indexes
    restored = {each["name"]: each["options"] for each in place.database.list_collections()}
    assert {name: restored[name] for name in restored.keys() & validators.keys()} == {
        name: found for name, found in validators.items() if name != "workers"
    }
    assert restore_problems(place.database) == []


def test_what_happened_since_holds_or_is_named(place: Installation) -> None:
    place.profile("ann")
    key, _ = place.keys.create("default", "shop", ["events:write"])
    place.act("keys.create", {"key": key.prefix})
    folder = place.back_up()
    place.profile("bob")
    place.erase("ann")
    place.keys.revoke(key.prefix)
    place.act("keys.revoke", {"key": key.prefix})
    place.act("personal.read", {"consumer_id": "bob"})
    place.lose()
    done = place.restore(folder)
    # The log has ann's name sealed, and nobody can read it; bob's key is nowhere.
    assert place.database[DATA_KEYS].find_one({"_id": "default:ann"}, {"destroyed": 1}) == {
        "_id": "default:ann",
        "destroyed": True,
    }
    assert (done.lost_keys, done.destroyed, done.revoked) == ([("default", "bob")], 1, 1)
    assert place.keys.get(key.prefix).revoked is not None
    assert (done.recovered, done.lost_entries) == (2, 0)
    assert place.audit_flaws() == []
    place.act("personal.read", {"consumer_id": "bob"})
    assert place.audit_flaws() == []
    [entry] = [each for each in MongoAuditLog(place.database).entries("*") if each["action"] == "database.restore"]
    assert entry["details"] == {"lost": 0, "recovered": 0}

    shown: list[int] = []
    lost = LostKeys(place.database, shown.append)
    lost.look()
    assert read_status(place.settings, place.database).lost_keys == {"default": 1}
    place.vault.destroy("default", "bob")
    lost.look()
    assert shown == [1, 0]
    assert read_status(place.settings, place.database).lost_keys == {}


def test_keys_that_are_copied_more_often_are_not_lost(place: Installation) -> None:
    place.profile("ann")
    data = place.back_up("data")
    place.profile("bob")
    keys = place.back_up("keys")
    assert not (data / f"{DATA_KEYS}.bson.gz").exists()
    assert sorted(path.name for path in keys.iterdir()) == [
        "data_keys.bson.gz",
        MANIFEST,
        "wrapping_keys.bson.gz",
    ]
    place.lose()
    with pytest.raises(ConfigurationError, match="--keys"):
        place.restore(data)
    with pytest.raises(ConfigurationError, match="data keys only"):
        place.restore(keys)
    assert place.restore(data, keys).lost_keys == []
    fresh = vault_in(place.settings, place.database)
    assert fresh is not None
    assert set(fresh.keys("default", ["ann", "bob"], create=False)) == {"ann", "bob"}


def test_the_topic_alone_restores_every_key_but_those_of_the_erased(with_topic: Installation) -> None:
    for name in ("ann", "bob", "cat"):
        with_topic.profile(name)
    data = with_topic.back_up("data")
    with_topic.profile("dan")
    with_topic.erase("bob")
    # As an erasure does before MongoDB is lost, whose mark never came into the topic: the ledger has it.
    with closing(open_publisher(with_topic.settings)) as publisher:
        late = key_messages(with_topic.topics.name(WRAPPED_KEYS), {"default:bob": Wrapped(b"late", 1)})
        publisher.send(late).result(PATIENCE_SECONDS)
    rotate(key_store(with_topic.settings, with_topic.database), EnvironmentKeys(MASTER_KEY), sleep=lambda _: None)
    before = with_topic.opened("ann", "bob", "cat", "dan")
    with_topic.lose()
    done = with_topic.restore(data, keys_topic=True)
    assert (done.lost_keys, done.from_topic) == ([], 3)
    assert with_topic.opened("ann", "bob", "cat", "dan") == before
    assert [id for id, secret in before.items() if secret is None] == ["bob"]


def test_a_restore_that_lost_keys_says_that_their_topic_is_there(with_topic: Installation) -> None:
    """KITH_KEYS_TOPIC was on, and is not set where the restore runs."""
    with_topic.profile("ann")
    folder = with_topic.back_up()
    with_topic.profile("bob")
    with_topic.lose()
    said: list[str] = []
    off = with_topic.settings.model_copy(update={"keys_topic": "off"})
    assert restore(off, folder, None, False, said.append).lost_keys == [("default", "bob")]
    assert "--keys-from-topic" in said[-1]
    assert with_topic.restore(folder, replace=True, keys_topic=True).lost_keys == []


def test_without_a_topic_of_keys_there_is_nothing_to_take(place: Installation) -> None:
    place.profile("ann")
    folder = place.back_up()
    with pytest.raises(ConfigurationError, match="KITH_KEYS_TOPIC"):
        place.restore(folder, replace=True, keys_topic=True)


def test_keys_that_are_older_than_the_data_are_noticed(place: Installation) -> None:
    keys = place.back_up("keys")
    place.profile("ann")
    data = place.back_up("data")
    place.lose()
    assert place.restore(data, keys).lost_keys == [("default", "ann")]


def test_lost_keys_of_those_whom_the_log_has_in_plain_text_are_named_too(place: Installation) -> None:
    """Past the door, with KITH_PLAINTEXT=seal: only the stored documents have tokens."""
    place.profile("ann")
    old = place.back_up("keys")

    def token(tenant: str, id: str, path: str) -> str:
        key = place.vault.keys(tenant, [id])[id]
        assert isinstance(key, DataKey)
        return seal(key, tenant, id, path, "a secret")

    def owner(tenant: str, id: str) -> dict[str, str]:
        return {"tenant": tenant, "consumer_id": id}

    place.database["consumers"].insert_many(
        [
            {**owner("default", "bob"), "personal": {"name": token("default", "bob", "personal.name")}},
            {**owner("default", "ann"), "personal": {"name": token("default", "ann", "personal.name")}},
            {**owner("default", "eve"), "traits": {"a": 1}},
        ]
    )
    place.database["relations@2"].insert_one({**owner("acme", "cat"), "text": token("acme", "cat", "text")})
    endpoint = {"tenant": "shop", "secrets": [{"secret": token("shop", "", "webhook.secret")}]}
    place.database["webhook_endpoints"].insert_one(endpoint)
    letter = Record(Partition("kith.relations", 0), 0, 0, b"inn:dan", b'{"tenant": "inn"')
    key = place.vault.keys("inn", ["dan"])["dan"]
    concealed = conceal(letter, ("inn", "dan"), key)
    headers = [{"name": name, "value": value} for name, value in concealed.headers]
    place.database["dead_letters"].insert_one({"value": concealed.value, "headers": headers, "reason": "invalid"})
    data, new = place.back_up("data"), place.back_up("keys")
    place.lose()
    lost = [("acme", "cat"), ("default", "bob"), ("inn", "dan"), ("shop", "")]
    assert place.restore(data, old).lost_keys == lost
    found = read_status(place.settings, place.database)
    assert (found.lost_keys, found.lost_tenant_keys) == ({"acme": 1, "default": 1, "inn": 1}, ["shop"])
    shown: list[int] = []
    keeper = LostKeys(place.database, shown.append)
    keeper.look()
    place.database["lost_keys"].delete_one({"tenant": "shop", "consumer_id": ""})
    keeper.look()
    assert shown == [4, 3]
    found = read_status(place.settings, place.database)
    assert (found.lost_keys, found.lost_tenant_keys) == ({"acme": 1, "default": 1, "inn": 1}, [])
    place.lose()
    assert place.restore(data, new).lost_keys == []


def restore_with_its_key(place: Installation, with_key: Installation, folder: Path) -> None:
    """Without the audit's key the restore is refused, and nothing of it is there."""
    place.lose()
    with pytest.raises(ConfigurationError, match="KITH_AUDIT_KEY_FILE"):
        place.restore(folder)
    assert place.database.list_collection_names() == []
    with_key.restore(folder)


def test_a_chain_with_a_key_gets_no_entry_without_it(place: Installation, tmp_path: Path) -> None:
    """One such entry would be a flaw of every `kith audit verify` from then on."""
    keyed = place.settings.model_copy(update={"audit_key": SecretStr("k" * 32)})
    with_key = Installation(keyed, place.database, tmp_path / "keyed")
    with_key.profile("ann")
    folder = with_key.back_up()
    with pytest.raises(ConfigurationError, match="KITH_AUDIT_KEY_FILE"):
        place.back_up()
    with pytest.raises(ConfigurationError, match="KITH_AUDIT_KEY_FILE"):
        place.act("keys.revoke", {"key": "x"}, INSTALLATION)
    place.act("personal.read", {"consumer_id": "ann"})  # this chain has no key
    restore_with_its_key(place, with_key, folder)
    entries = list(MongoAuditLog(place.database).entries(INSTALLATION))
    assert {entry["algorithm"] for entry in entries} == {"hmac-sha256"}


def test_a_key_introduced_after_the_backup_is_needed_too(place: Installation, tmp_path: Path) -> None:
    place.profile("ann")
    place.act("personal.read", {"consumer_id": "ann"})
    folder = place.back_up()
    keyed = place.settings.model_copy(update={"audit_key": SecretStr("k" * 32)})
    with_key = Installation(keyed, place.database, tmp_path / "keyed")
    with_key.act("keys.revoke", {"key": "x"}, INSTALLATION)
    restore_with_its_key(place, with_key, folder)
    entries = list(MongoAuditLog(place.database).entries(INSTALLATION))
    assert [entry["action"] for entry in entries[-2:]] == ["keys.revoke", "database.restore"]
    assert {entry["algorithm"] for entry in entries[-2:]} == {"hmac-sha256"}


def test_entries_of_the_audit_that_nobody_has_are_missing_and_no_more(place: Installation) -> None:
    place.act("personal.read", {"consumer_id": "ann"})
    folder = place.back_up()
    # Stored and then lost, before it was in the topic; the next one is there.
    place.act_unpublished("personal.read", {"consumer_id": "bob"})
    place.act("personal.read", {"consumer_id": "cat"})
    place.lose()
    done = place.restore(folder)
    assert (done.recovered, done.lost_entries) == (0, 2)
    assert place.audit_flaws() == [("default", "missing", 2)]
    place.act("personal.read", {"consumer_id": "dan"})
    assert place.audit_flaws() == [("default", "missing", 2)]


def test_a_database_that_is_not_empty_is_kept(place: Installation) -> None:
    place.profile("ann")
    folder = place.back_up()
    place.database["consumers"].insert_one({"_id": "later"})
    with pytest.raises(ConfigurationError, match="--replace"):
        place.restore(folder)
    assert place.database["consumers"].count_documents({}) == 2
    place.restore(folder, replace=True)
    assert place.database["consumers"].count_documents({}) == 1


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As a full disk does, the kernel refuses what this process writes beyond so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_backup_for_which_there_is_no_room_says_so_and_leaves_nothing(
    place: Installation, tmp_path: Path
) -> None:
    place.database["consumers"].insert_one({"_id": "default:ann", "blob": os.urandom(200_000)})
    with no_file_beyond(100_000), pytest.raises(ConfigurationError, match="cannot be written: File too large"):
        place.back_up()
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigurationError, match="cannot be written: Not a directory"):
        backup(place.settings, tmp_path / "taken/backup", "all", lambda _: None)
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []


def test_nothing_works_on_a_half_restored_database(place: Installation) -> None:
    place.profile("ann")
    folder = place.back_up()
    place.database[RESTORES].insert_one({"_id": "restore", "state": RUNNING})
    assert "kith restore" in restore_problems(place.database)[0]
    with pytest.raises(ConfigurationError, match="interrupted"):
        place.back_up()
    # Again, and it is whole.
    assert place.restore(folder).lost_keys == []
    assert restore_problems(place.database) == []


def of_another_kafka(folder: Path, names: Iterable[str] = ()) -> None:
    """Give the topics of a backup, or those of these names, other ids."""
    manifest = read_manifest(folder)
    topics = {name: TopicEnds(f"other {known.id}", known.partitions) for name, known in manifest.topics.items()}
    changed = {**manifest.topics, **{name: topics[name] for name in names or topics}}
    (folder / MANIFEST).unlink()
    write_manifest(folder, replace(manifest, topics=changed))


def test_keys_of_another_installation_are_refused(place: Installation) -> None:
    """Newer than the data, they would count as complete, and nobody would hear that none of them fits."""
    place.profile("ann")
    data, keys = place.back_up("data"), place.back_up("keys")
    of_another_kafka(keys)
    place.lose()
    with pytest.raises(ConfigurationError, match="of another installation"):
        place.restore(data, keys)
    assert place.database.list_collection_names() == []


def test_of_two_restores_at_once_the_earlier_one_ends_and_nothing_is_mixed(place: Installation) -> None:
    for name in ("ann", "bob"):
        place.profile(name)
    folder, before = place.back_up(), place.contents()
    place.lose()

    def another(line: str) -> None:
        """Begins, and ends, when the first has loaded the consumers."""
        if line.startswith("consumers:"):
            place.restore(folder)

    with pytest.raises(ConfigurationError, match="another"):
        restore(place.settings, folder, None, False, another)
    assert (place.contents(), restore_problems(place.database)) == (before, [])

    def halfway(line: str) -> None:
        """Begins, and is interrupted at once."""
        if line.startswith("consumers:"):
            Claim(place.database, "").take(replace=False)

    with pytest.raises(ConfigurationError, match="another kith restore"):
        restore(place.settings, folder, None, True, halfway)
    assert read_status(place.settings, place.database).restoring == restore_problems(place.database) != []


def test_what_a_service_writes_meanwhile_ends_the_restore(place: Installation) -> None:
    place.profile("ann")
    folder = place.back_up()

    def write(line: str) -> None:
        if line.startswith("data_keys:"):
            place.database["consumers"].insert_one({"_id": "default:eve"})

    with pytest.raises(ConfigurationError, match="collection consumers meanwhile: a service"):
        restore(place.settings, folder, None, True, write)
    assert restore_problems(place.database) != []
    assert place.restore(folder).lost_keys == []


def test_a_second_restore_keeps_what_was_recorded_after_the_first(place: Installation) -> None:
    """Even where the first one had found entries lost."""
    place.act("personal.read", {"consumer_id": "ann"})
    folder = place.back_up()
    place.act_unpublished("personal.read", {"consumer_id": "bob"})
    place.act("personal.read", {"consumer_id": "cat"})
    place.lose()
    place.restore(folder)
    place.act("personal.read", {"consumer_id": "dan"})
    done = place.restore(folder, replace=True)
    # The first restore's entries in both chains, and what was recorded after it.
    assert (done.recovered, done.lost_entries) == (3, 0)
    assert place.audit_flaws() == [("default", "missing", 2)]
    entries = list(MongoAuditLog(place.database).entries("default"))
    assert [entry["subject"].get("consumer_id") for entry in entries] == ["ann", None, "dan"]


def test_another_kafka_is_refused_before_anything_is_changed(place: Installation) -> None:
    place.profile("ann")
    folder = place.back_up()
    before = place.contents()
    name = place.topics.name("consumers")
    of_another_kafka(folder, [name])
    with pytest.raises(ConfigurationError, match=f"{name} is not the one of the backup"):
        place.restore(folder, replace=True)
    place.database["positions"].update_many({}, {"$set": {"next": 99}})
    with pytest.raises(ConfigurationError, match="does not fit this Kafka"):
        place.restore(place.back_up(), replace=True)
    place.database["positions"].update_many({}, {"$set": {"next": 1}})
    assert place.contents() == before


def test_a_worker_that_still_runs_is_named(place: Installation) -> None:
    folder = place.back_up()
    topic = place.topics.name("relation-changes")
    with closing(open_reader(place.settings, "analytics", [topic])) as reader:
        found = 0
        while not found:
            found = len(reader.poll(500).assigned)
        with pytest.raises(ConfigurationError, match="workers of analytics are still running"):
            place.restore(folder, replace=True)
