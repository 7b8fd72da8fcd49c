"""Recorded changes become events, are rejected by name, and are committed only when Kafka has the events."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services.importer import capture_command
from services.importer.changes import Translator
from services.importer.mapping import MappingError, load
from services.importer.run import run
from shared.contracts.errors import Unavailable
from shared.contracts.topics import Topics
from shared.runtime.protocols import Partition, Record
from tests.support.capture import MAPPING, Failing, MemoryChanges, captured, envelope, stored
from tests.support.importer import CLOCK, Recorder, write_mapping

ORDERS = Partition("shop.public.orders", 0)
ROW = {"id": 1, "customer": "c", "shop": "s", "total": "5.00", "ordered_at": "2026-03-02T10:00:00Z", "note": None}


def of(*values: bytes | None, key: bytes | None = b'{"id":1}') -> MemoryChanges:
    return MemoryChanges([Record(ORDERS, n, 0, key, value) for n, value in enumerate(values)])


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def of_another_database(connector: str, op: str, after: Any) -> bytes:
    """As Debezium's connectors for MySQL, SQL Server and MongoDB write it: a snapshot has no place in a log."""
    value = json.loads(envelope(op, 5, None, snapshot="true" if op == "r" else "false"))
    value["source"]["connector"] = connector
    return json.dumps({**value, "after": after}).encode()


def briefly(event: dict[str, Any]) -> tuple[Any, ...]:
    data = event["data"]
    return event["type"].partition(".")[2], data["relation_id"], data["consumer_id"], data.get("amount")


def test_recorded_changes_of_orders(tmp_path: Path) -> None:
    rejects = tmp_path / "r.jsonl"
    report = captured(log := MemoryChanges(stored("orders")), recorder := Recorder(), rejects)
    events = recorder.events()
    assert [briefly(event) for event in events] == [
        ("recorded", "1001", "c-17", 1999),
        ("recorded", "1002", "c-18", None),
        ("recorded", "1003", "c-17", -250),
        ("recorded", "1003", "c-19", -250),
        ("retracted", "1003", "c-17", None),
        ("retracted", "1001", "c-17", None),
    ]
    assert {event["source"] for event in events} == {"cdc/shop/public.orders"}
    assert [event["time"] for event in events[:3]] == ["1970-01-01T00:00:00Z"] * 2 + ["2026-03-02T10:00:05Z"]
    assert events[0]["data"]["occurred_at"] == "2026-03-02T08:59:59.123456Z"
    assert events[3]["id"] == "00000000000024024000-orders/1003"
    assert [(bad["source"], bad["number"], bad["field"]) for bad in rejected(rejects)] == [
        ("shop.public.orders/0", 3, "data.text"),
        ("shop.public.orders/0", 7, "before.customer"),
    ]
    assert all("REPLICA IDENTITY FULL" in bad["detail"] for bad in rejected(rejects))
    assert (report.total("records"), report.total("accepted"), report.total("rejected")) == (9, 6, 2)
    assert log.commits[-1] == {ORDERS: 9}


def test_recorded_changes_of_customers(tmp_path: Path) -> None:
    captured(MemoryChanges(stored("customers")), recorder := Recorder(), tmp_path / "r.jsonl")
    created, updated, erased = recorder.events()
    assert created["data"]["traits"] == {"tier": "gold", "bio": "x"}
    # A null removes the address; a large value that the log leaves out keeps what it was.
    assert updated["data"]["personal"] == {"name": "Ann Ex", "email": None}
    assert updated["data"]["traits"] == {"tier": "gold"}
    assert created["time"] == updated["time"]
    assert created["id"] < updated["id"]
    assert (erased["type"], erased["data"]["mode"]) == ("consumer.erased", "anonymise")


def test_a_deleted_consumer_row_erases_nobody_unless_the_mapping_says_so(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path, MAPPING.read_text().replace('deleted = "anonymise"\n', ""))
    translate = Translator(load(mapping))
    captured(MemoryChanges(stored("customers")), recorder := Recorder(), tmp_path / "r.jsonl", translate=translate)
    assert [event["type"] for event in recorder.events()] == ["consumer.upserted"] * 2
    assert translate.notes.ignored == 1


ACCOUNTS = """
[[source]]
format = "debezium"
table = "public.accounts"
type = "{type}"
{deleted}

[source.fields]
{field} = {{column = "no", case = "lower"}}
"""


def rekeyed(no: str, headers: bool = True) -> MemoryChanges:
    """An update of the primary key, an address of mail, as Debezium writes it: a deletion, its tombstone and an
    insert at one place in the log, here with the insert first, as two partitions may be read."""
    before, after = {"mail": "zoe@example.org", "no": no}, {"mail": "ann@example.org", "no": no}
    old, new = (json.dumps({"mail": row["mail"]}).encode() for row in (before, after))
    insert = envelope("c", 5, 7, after=after, table="accounts")
    deletion = envelope("d", 5, 7, before=before, table="accounts")
    other = Partition("shop.public.accounts", 1)
    return MemoryChanges(
        [
            Record(ORDERS, 0, 0, new, insert, (("__debezium.oldkey", old),) if headers else ()),
            Record(other, 0, 0, old, deletion, (("__debezium.newkey", new),) if headers else ()),
            Record(other, 1, 0, old, None),
        ]
    )


def test_another_primary_key_erases_nobody(tmp_path: Path) -> None:
    text = ACCOUNTS.format(type="consumer.upserted", deleted='deleted = "anonymise"', field="consumer_id")
    translate = Translator(load(write_mapping(tmp_path, text)))
    captured(rekeyed("7"), recorder := Recorder(), tmp_path / "r.jsonl", translate=translate)
    assert [event["type"] for event in recorder.events()] == ["consumer.upserted"]
    assert translate.notes.rekeyed == 1


@pytest.mark.parametrize("headers", [True, False])
def test_another_primary_key_closes_no_provider(tmp_path: Path, headers: bool) -> None:
    text = ACCOUNTS.format(type="provider.upserted", deleted="", field="provider_id")
    translate = Translator(load(write_mapping(tmp_path, text)))
    captured(rekeyed("7", headers), recorder := Recorder(), tmp_path / "r.jsonl", translate=translate)
    upserted, closed = recorder.events()
    assert (upserted["type"], closed["type"]) == ("provider.upserted", "provider.closed")
    assert (upserted["time"], upserted["sequence"]) > (closed["time"], closed["sequence"])


def test_another_spelling_of_one_name_retracts_nothing(tmp_path: Path) -> None:
    text = ACCOUNTS.format(type="provider.upserted", deleted="", field="provider_id")
    before, after = {"mail": "a", "no": "X"}, {"mail": "a", "no": "x"}
    log = of(envelope("u", 5, 7, before=before, after=after, table="accounts"), key=b'{"mail":"a"}')
    translate = Translator(load(write_mapping(tmp_path, text)))
    captured(log, recorder := Recorder(), tmp_path / "r.jsonl", translate=translate)
    upserted, closed = sorted(recorder.events(), key=lambda event: event["type"], reverse=True)
    assert (upserted["type"], upserted["data"]["provider_id"]) == ("provider.upserted", "x")
    assert upserted["sequence"] > closed["sequence"]


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (b"{", "not_json", None),
        (b"[]", "not_json", None),
        (b'{"id":1}', "invalid", "op"),
        (envelope("t", 5, 1), "invalid", "op"),
        (envelope("c", 5, 1), "invalid", "after"),
        (envelope("d", 5, 1, after=ROW), "invalid", "before"),
        (envelope("c", 5, None, after=ROW), "invalid", "source.lsn"),
        (envelope("c", 5, 2**64, after=ROW), "invalid", "source.lsn"),
        (envelope("c", -5000, 1, after=ROW), "invalid", "source.ts_ms"),
        (envelope("c", 5, 1, after=ROW, table="other"), "invalid", "source.table"),
        (of_another_database("mysql", "r", ROW), "invalid", "source.connector"),
        (of_another_database("sqlserver", "c", ROW), "invalid", "source.connector"),
        (of_another_database("mongodb", "u", json.dumps(ROW)), "invalid", "source.connector"),
        (envelope("c", 5, 1, after={**ROW, "total": "5.001"}), "invalid", "data.amount"),
        (envelope("c", 5, 1, after={**ROW, "customer": None}), "invalid", "data.consumer_id"),
        (envelope("c", 4_102_444_800_000, 1, after=ROW), "in_the_future", "time"),
    ],
)
def test_a_bad_change_is_rejected_and_the_next_is_read(
    tmp_path: Path, value: bytes, reason: str, field: str | None
) -> None:
    rejects = tmp_path / "r.jsonl"
    report = captured(of(value, None, envelope("c", 6, 2, after=ROW)), recorder := Recorder(), rejects)
    (bad,) = rejected(rejects)
    assert (bad["number"], bad["reason"], bad["field"]) == (0, reason, field)
    assert len(recorder.messages) == 1
    assert (report.total("read"), report.total("rejected")) == (2, 1)


def test_rejected_changes_of_an_earlier_run_stay_because_they_are_not_read_again(tmp_path: Path) -> None:
    for _ in range(2):
        captured(of(b"{"), Recorder(), tmp_path / "r.jsonl")
    assert len(rejected(tmp_path / "r.jsonl")) == 2


def test_nothing_is_committed_before_kafka_has_the_events(tmp_path: Path) -> None:
    log = of(envelope("c", 5, 1, after=ROW))
    with pytest.raises(Unavailable):
        captured(log, Failing(), tmp_path / "r.jsonl")
    assert log.commits == []


def test_a_dry_run_commits_nothing(tmp_path: Path) -> None:
    log = of(envelope("c", 5, 1, after=ROW))
    assert captured(log, None, tmp_path / "r.jsonl").total("accepted") == 1
    assert log.commits == []


def test_the_mapping_of_a_file_reads_the_table_of_its_name(tmp_path: Path) -> None:
    text = MAPPING.read_text().replace('format = "debezium"\ntable = "public.orders"', 'path = "orders.csv"')
    captured(
        of(envelope("c", 5, 1, after=ROW)),
        recorder := Recorder(),
        tmp_path / "r",
        mapping=write_mapping(tmp_path, text),
    )
    assert len(recorder.messages) == 1


@pytest.mark.parametrize(
    "key", [b'{"mail":"ann@example.org"}', b'{"a":1.5}', None], ids=["text", "number", "none"]
)
def test_a_key_that_may_name_a_person_is_not_in_the_id(tmp_path: Path, key: bytes | None) -> None:
    captured(of(envelope("c", 5, 1, after=ROW), key=key), recorder := Recorder(), tmp_path / "r.jsonl")
    (event,) = recorder.events()
    assert len(event["id"]) == len(f"{1:020d}-orders/") + 32


def test_an_update_without_before_is_noted(tmp_path: Path) -> None:
    translate = Translator(load(MAPPING))
    captured(
        of(envelope("c", 5, 1, after=ROW), envelope("u", 5, 2, after=ROW)),
        Recorder(),
        tmp_path / "r.jsonl",
        translate=translate,
    )
    assert translate.notes.blind == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('relation_id = "id"\n', "", "fields.relation_id: capture needs it"),
        ('"anonymise"', '"undo"', "deleted: of consumer.upserted it is one of: ignore, anonymise, delete"),
        ('table = "public.orders"\n', "", "needs table, like"),
        ('time = "ordered_at"', 'time = "ordered_at"\nquery = "x"', "query is for SQLite only"),
    ],
)
def test_mistakes_in_the_mapping(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        Translator(load(write_mapping(tmp_path, MAPPING.read_text().replace(old, new))))


def test_an_import_of_a_captured_table_says_which_command_reads_it(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="kith capture"):
        run(load(MAPPING), Recorder(), Topics(), tmp_path / "r", CLOCK, path=MAPPING)


class Faltering(MemoryChanges):
    """Kafka is away at the second poll, and Ctrl-C is pressed when all is read."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(records)
        self.polls = 0
        self.closed = 0

    def poll(self, timeout_ms: int) -> list[Record]:
        self.polls += 1
        if self.polls == 2:
            raise Unavailable("no broker answers")
        if self.ended():
            raise KeyboardInterrupt
        return super().poll(timeout_ms)

    def close(self) -> None:
        self.closed += 1


def test_following_waits_for_servers_and_ends_by_ctrl_c_with_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, recorder = Faltering(stored("orders")), Recorder()
    monkeypatch.setattr(capture_command, "change_log", lambda *_: log)
    monkeypatch.setattr(capture_command, "kafka_publisher", lambda _: recorder)
    monkeypatch.setattr(capture_command, "_SECONDS_BEFORE_RETRY", 0.0)
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    monkeypatch.setenv("KITH_KAFKA", "kafka.test:9092")
    app = typer.Typer()
    app.command("capture")(capture_command.capture_command)
    rejects = tmp_path / "r.jsonl"
    result = CliRunner().invoke(
        app, [str(MAPPING), "--topic", "shop.public.orders", "--follow", "--rejects", str(rejects)]
    )
    assert result.exit_code == 0, result.output
    assert "kith capture: waiting: no broker answers" in result.stderr
    first, note, last = result.stdout.splitlines()
    assert first == "9 records read, 6 events accepted, 2 rejected, 0 records behind"
    assert note.startswith("  note: changes that do not say what their row was before: 1.")
    assert last == f"Rejected changes, with their reasons: {rejects}"
    assert (len(recorder.messages), len(rejected(rejects)), log.closed) == (6, 2, 2)
