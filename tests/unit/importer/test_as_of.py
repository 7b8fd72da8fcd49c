"""Which version an imported event has, and that the right one wins."""

import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.importer.as_of import modified, moments
from services.importer.mapping import MappingError, load
from tests.support.importer import CLOCK, Recorder, imported, rejected, visits, write_mapping

MONDAY, TUESDAY = 1_772_445_600, 1_772_532_000  # 2026-03-02 and 03, 10:00 UTC

ORDERS = """
[[source]]
name = "{name}"
path = "{name}.csv"
type = "relation.{type}"
time = "date"
timezone = "UTC"
{options}
[source.fields]
relation_id = "no"
consumer_id = "customer"
provider_id = "shop"
{fields}
"""
CONTACTS = """
[[source]]
path = "contacts.csv"
type = "consumer.upserted"
{options}
[source.fields]
consumer_id = "no"
traits.tier = "tier"
"""


def made(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


def events(mapping: Path, as_of: datetime | None = None) -> list[dict[str, Any]]:
    imported(mapping, recorder := Recorder(), as_of=as_of)
    return recorder.events()


def winners(*imports: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """What is left of events, by the order of versions that the design states."""
    found: dict[str, dict[str, Any]] = {}
    for event in (event for one in imports for event in one):
        old = found.get(event["data"][key])
        if old is None or version(old) < version(event):
            found[event["data"][key]] = event
    return found


def version(event: dict[str, Any]) -> tuple[datetime, str, str, str]:
    return datetime.fromisoformat(event["time"]), event.get("sequence", ""), event["source"], event["id"]


def test_the_row_s_own_date_is_when_it_happened_and_the_file_s_time_the_version(tmp_path: Path) -> None:
    made(tmp_path / "orders.csv", "no,date,customer,shop\n1,2025-02-03T10:00,c,s\n", MONDAY)
    mapping = write_mapping(
        tmp_path, ORDERS.format(name="orders", type="recorded", options="", fields="kind = { const = 'purchase' }")
    )
    (event,) = events(mapping)
    assert (event["time"], event["data"]["occurred_at"]) == ("2026-03-02T10:00:00Z", "2025-02-03T10:00:00Z")
    assert events(mapping) == [event], "the same file again is the same events"


def test_a_corrected_file_outranks_all_of_the_one_before(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path, CONTACTS.format(options="time = { const = 2026-02-01T00:00:00Z }"))
    numbers = range(40)
    made(tmp_path / "contacts.csv", "no,tier\n" + "".join(f"k-{n},basic\n" for n in numbers), MONDAY)
    before = events(mapping)
    made(tmp_path / "contacts.csv", "no,tier\n" + "".join(f"k-{n},gold\n" for n in numbers), TUESDAY)
    after = events(mapping)
    for order in ((before, after), (after, before)):
        assert {one["data"]["traits"]["tier"] for one in winners(*order, key="consumer_id").values()} == {"gold"}
    live = datetime(2026, 3, 2, 12, tzinfo=UTC).isoformat()
    assert max(one["time"] for one in before) < live < min(one["time"] for one in after)


def test_a_list_of_another_file_counts_as_well(tmp_path: Path) -> None:
    text = (
        CONTACTS.format(options="")
        + """
traits.tags = { collect = "tags" }
[source.collect.tags]
path = "tags.csv"
key = "no"
value = "tag"
"""
    )
    made(tmp_path / "contacts.csv", "no,tier\n1,a\n", MONDAY)
    made(tmp_path / "tags.csv", "no,tag\n1,x\n", TUESDAY)
    (event,) = events(write_mapping(tmp_path, text))
    assert event["time"] == "2026-03-03T10:00:00Z"


@pytest.mark.parametrize("first", ["cancelled", "orders"])
@pytest.mark.parametrize("older", ["cancelled", "orders"])
def test_cancellations_count_whatever_their_source_is_called_and_whichever_file_was_made_first(
    tmp_path: Path, first: str, older: str
) -> None:
    kinds = {"orders": ("recorded", "kind = { const = 'purchase' }"), "cancelled": ("retracted", "")}
    text = ""
    for name in sorted(kinds, key=lambda name: name != first):
        made(
            tmp_path / f"{name}.csv",
            "no,date,customer,shop\n1,2025-02-03,c,s\n",
            MONDAY if name == older else TUESDAY,
        )
        text += ORDERS.format(name=name, type=kinds[name][0], options="", fields=kinds[name][1])
    last = winners(events(write_mapping(tmp_path, text)), key="relation_id")["1"]
    assert last["type"] == "relation.retracted"
    assert last["time"] == "2026-03-03T10:00:00Z"


@pytest.mark.parametrize("first", ["cancelled", "orders"])
@pytest.mark.parametrize(
    "options",
    [
        'changed = { column = "cancelled", timezone = "UTC" }',
        "as_of = 2026-01-05T00:00:00Z",
        'changed = { column = "cancelled", timezone = "UTC" }\nas_of = 2026-01-05T00:00:00Z',
    ],
)
def test_cancellations_with_an_older_time_of_their_own_undo_orders_that_state_none(
    tmp_path: Path, first: str, options: str
) -> None:
    parts = {
        "orders": ORDERS.format(
            name="orders", type="recorded", options="", fields="kind = { const = 'purchase' }"
        ),
        "cancelled": ORDERS.format(name="cancelled", type="retracted", options=options, fields=""),
    }
    made(tmp_path / "orders.csv", "no,date,customer,shop\n1,2025-02-03,c,s\n2,2025-02-03,c,s\n", MONDAY)
    made(
        tmp_path / "cancelled.csv",
        "no,date,customer,shop,cancelled\n1,2025-02-03,c,s,2026-01-05\n2,2025-02-03,c,s,2026-03-04\n",
        MONDAY - 10,
    )
    mapping = write_mapping(
        tmp_path, "".join(parts[name] for name in sorted(parts, key=lambda name: name != first))
    )
    report = imported(mapping, recorder := Recorder(), as_of=None)
    last = winners(recorder.events(), key="relation_id")
    assert {one["type"] for one in last.values()} == {"relation.retracted"}
    later = "2026-03-04T00:00:00Z" if "changed" in options else "2026-03-02T10:00:00Z"
    assert [last[no]["time"] for no in "12"] == ["2026-03-02T10:00:00Z", later]
    notes = [note for source in report.sources for note in source.notes]
    raised = "1 rows say that they were changed before 2026-03-02T10:00:00+00:00, and count as of then"
    assert [raised in note for note in notes] == [True] * ("changed" in options)


@pytest.mark.parametrize(
    ("options", "time"),
    [
        ('changed = { column = "edited", timezone = "UTC" }', "2026-01-05T00:00:00Z"),
        ("as_of = 2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("", "2026-03-03T10:00:00Z"),
    ],
)
@pytest.mark.parametrize(("stated", "ended"), [("consumer.upserted", "erased"), ("provider.upserted", "closed")])
def test_what_closes_or_erases_keeps_the_older_time_that_it_states(
    tmp_path: Path, stated: str, ended: str, options: str, time: str
) -> None:
    """Who is in today's list again was closed before."""
    made(tmp_path / "contacts.csv", "no,tier\n1,a\n", TUESDAY)
    made(tmp_path / "ended.csv", "no,edited\n1,2026-01-05\n", MONDAY)
    who = stated.partition(".")[0]
    text = CONTACTS.format(options="").replace("consumer", who)
    mode = 'mode = { const = "delete" }' if ended == "erased" else ""
    text += f"""
[[source]]
path = "ended.csv"
type = "{who}.{ended}"
{options}
[source.fields]
{who}_id = "no"
{mode}
"""
    found = events(write_mapping(tmp_path, text))
    assert [one["time"] for one in found] == ["2026-03-03T10:00:00Z", time]


def test_cancellations_and_orders_that_both_say_when_they_were_changed_keep_their_times(tmp_path: Path) -> None:
    changed = 'changed = { column = "edited", timezone = "UTC" }'
    made(tmp_path / "orders.csv", "no,date,customer,shop,edited\n1,2025-02-03,c,s,2026-01-07\n", MONDAY)
    made(tmp_path / "cancelled.csv", "no,date,customer,shop,edited\n1,2025-02-03,c,s,2026-01-05\n", MONDAY)
    text = ORDERS.format(name="orders", type="recorded", options=changed, fields="kind = { const = 'purchase' }")
    text += ORDERS.format(name="cancelled", type="retracted", options=changed, fields="")
    found = events(write_mapping(tmp_path, text))
    assert [one["time"] for one in found] == ["2026-01-07T00:00:00Z", "2026-01-05T00:00:00Z"]


def test_a_file_made_later_changes_no_id_of_a_cancellation(tmp_path: Path) -> None:
    text = ORDERS.format(name="orders", type="recorded", options="", fields="kind = { const = 'purchase' }")
    text += ORDERS.format(
        name="cancelled", type="retracted", options='changed = { column = "date", timezone = "UTC" }', fields=""
    )
    mapping = write_mapping(tmp_path, text)
    found = []
    for at in (MONDAY, TUESDAY):
        for name in ("orders", "cancelled"):
            made(tmp_path / f"{name}.csv", "no,date,customer,shop\n1,2025-02-03,c,s\n", at)
        found.append(events(mapping)[1]["id"])
    assert found[0] == found[1]


def test_of_two_rows_about_one_thing_the_later_wins(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path, CONTACTS.format(options=""))
    made(tmp_path / "contacts.csv", "no,tier\n" + "".join(f"k,{n}\n" for n in range(200)), MONDAY)
    assert winners(events(mapping), key="consumer_id")["k"]["data"]["traits"]["tier"] == "199"


def test_a_corrected_mapping_outranks_the_one_before_and_nothing_live(tmp_path: Path) -> None:
    made(tmp_path / "contacts.csv", "no,tier\n" + "".join(f"k-{n},gold\n" for n in range(40)), MONDAY)
    mapping = write_mapping(tmp_path, CONTACTS.format(options=""))
    os.utime(mapping, (TUESDAY, TUESDAY))
    before = events(mapping)
    mapping.write_text(
        mapping.read_text().replace('traits.tier = "tier"', 'traits.tier = { column = "tier", case = "upper" }')
    )
    os.utime(mapping, (TUESDAY + 60, TUESDAY + 60))
    after = events(mapping)
    for order in ((before, after), (after, before)):
        assert {one["data"]["traits"]["tier"] for one in winners(*order, key="consumer_id").values()} == {"GOLD"}
    assert {one["time"] for one in after} == {"2026-03-02T10:00:00Z"}, (
        "live events after the file outrank it still"
    )


def test_a_column_may_say_when_a_row_was_last_changed(tmp_path: Path) -> None:
    options = 'changed = { column = "edited", timezone = "UTC" }'
    made(tmp_path / "contacts.csv", "no,tier,edited\n1,a,2026-02-01T10:00\n2,a,\n", MONDAY)
    mapping = write_mapping(tmp_path, CONTACTS.format(options=options))
    (event,) = events(mapping)
    assert event["time"] == "2026-02-01T10:00:00Z"
    assert [(one["field"], one["detail"]) for one in rejected(mapping)] == [("changed", "is required")]


@pytest.mark.parametrize(
    ("options", "given", "time"),
    [
        ("", None, "2026-03-02T10:00:00Z"),
        ("as_of = 2026-01-02T03:04:05+01:00", None, "2026-01-02T02:04:05Z"),
        ("as_of = 2026-01-02T03:04:05+01:00", datetime(2026, 5, 6, tzinfo=UTC), "2026-05-06T00:00:00Z"),
    ],
)
def test_where_the_moment_comes_from(tmp_path: Path, options: str, given: datetime | None, time: str) -> None:
    made(tmp_path / "contacts.csv", "no,tier\n1,a\n", MONDAY)
    mapping = write_mapping(tmp_path, CONTACTS.format(options=options))
    (event,) = events(mapping, given)
    assert event["time"] == time


@pytest.mark.parametrize("moment", ["2026-01-02T03:04:05", "2026-01-02"])
def test_a_moment_has_an_offset(tmp_path: Path, moment: str) -> None:
    with pytest.raises(MappingError, match="as_of"):
        load(write_mapping(tmp_path, CONTACTS.format(options=f"as_of = {moment}")))


def test_what_a_database_has_not_moved_into_its_file_counts_through_a_link_as_well(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "contacts.db").symlink_to(tmp_path / "real" / "contacts.db")
    made(tmp_path / "real" / "contacts.db", "", MONDAY)
    made(tmp_path / "real" / "contacts.db-wal", "x", MONDAY + 3_600)
    mapping = load(write_mapping(tmp_path, CONTACTS.format(options='table = "t"').replace(".csv", ".db")))
    now = datetime(2027, 1, 1, tzinfo=UTC)
    (moment,) = moments(mapping, tmp_path / "mapping.toml", None, now, CLOCK.most_ahead).values()
    assert (moment.time.timestamp(), moment.origin) == (MONDAY + 3_600, "modification time of contacts.db-wal")


def test_a_moment_in_the_future_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "contacts.csv", "no,tier\n1,a\n", 4_102_444_800)
    with pytest.raises(MappingError, match=r"contacts\.csv.*is in the future: state as_of"):
        events(write_mapping(tmp_path, CONTACTS.format(options="")))


def test_a_column_that_nothing_maps_changes_no_id(tmp_path: Path) -> None:
    mapping = visits(tmp_path, "v.csv", fields='text = "said"')
    files = [
        "who,where,said\nc,p, hello\nc,p,hello\nd,p,x\n",
        "who,where,said,exported\nc,p,hello ,monday\nc ,p,hello,tuesday\nd,p,x,x\n",
        "exported,said,where,who\n,hello,p,c\n1,hello,p,c\n2,x, p ,d\n",
    ]
    found = []
    for text in files:
        (tmp_path / "v.csv").write_text(text)
        found.append(
            {(one["id"], one["data"]["relation_id"]) for one in events(mapping, datetime(2026, 1, 1, tzinfo=UTC))}
        )
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3
    (tmp_path / "v.csv").write_text(files[0].replace("d,p,x", "d,p,y"))
    assert (
        len(found[0] & {(one["id"], one["id"]) for one in events(mapping, datetime(2026, 1, 1, tzinfo=UTC))}) == 2
    )


def test_when_it_happened_is_said_once(tmp_path: Path) -> None:
    mapping = visits(tmp_path, "v.csv", fields='occurred_at = "day"')
    mapping.write_text(mapping.read_text().replace("time = 2024-05-01T00:00:00Z", 'time = "edited"'))
    with pytest.raises(MappingError, match=r"time: fields\.occurred_at already contains"):
        load(mapping)
    mapping = visits(tmp_path, "v.csv")
    mapping.write_text(mapping.read_text().replace("time = 2024-05-01T00:00:00Z", ""))
    with pytest.raises(MappingError, match="time: is required"):
        load(mapping)


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_outside_of_the_years_that_there_are_is_an_error(tmp_path: Path, edge: str) -> None:
    (tmp_path / "v.csv").write_text("who,where\nc,p\n")
    with pytest.raises(MappingError, match="as_of: is a time outside of the years 1 to 9999"):
        imported(visits(tmp_path, "v.csv", f"as_of = {edge}"))
    mapping = visits(tmp_path, "v.csv")
    mapping.write_text(mapping.read_text().replace("2024-05-01T00:00:00Z", edge))
    assert imported(mapping).rejected == 1


def test_a_file_of_no_year_that_there_is_is_an_error() -> None:
    path: Any = SimpleNamespace(stat=lambda: SimpleNamespace(st_mtime_ns=10**30))
    with pytest.raises(MappingError, match="modification time is outside of the years 1 to 9999"):
        modified(path)
