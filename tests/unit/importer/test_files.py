"""Reading: formats, encodings, rows that cannot be read, ids made from content."""

import gzip
import json
import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from services.importer.mapping import MappingError
from shared.runtime.protocols import Message
from tests.support.importer import Recorder, imported, rejected, rejects_of, visits, write_mapping
from tests.support.paths import DATA


def pairs(recorder: Recorder) -> list[tuple[str, str]]:
    return [(one["data"]["consumer_id"], one["data"]["provider_id"]) for one in recorder.events()]


def shop(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE consumers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
            CREATE TABLE providers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
            CREATE TABLE relations (id INTEGER PRIMARY KEY, consumer_id INTEGER, provider_id INTEGER);
            INSERT INTO consumers VALUES (1, 'Ana Ñuñez', 'ana@example.org'), (2, 'Bo', NULL);
            INSERT INTO providers VALUES (1, 'Café Uno', 'uno@example.org');
            INSERT INTO relations VALUES (10, 1, 1), (11, 2, 1), (12, NULL, 1);
            """
        )


def test_sqlite_tables(tmp_path: Path) -> None:
    mapping = Path(shutil.copy(DATA / "sqlite.toml", tmp_path))
    shop(tmp_path / "shop.sqlite")
    recorder = Recorder()
    report = imported(mapping, recorder)
    assert (report.read, report.accepted, report.rejected) == (6, 5, 1)
    data = [one["data"] for one in recorder.events()]
    bought = {"kind": "purchase", "occurred_at": "2024-01-01T00:00:00Z"}
    assert data == [
        {"consumer_id": "1", "personal": {"name": "Ana Ñuñez", "email": "ana@example.org"}},
        {"consumer_id": "2", "personal": {"name": "Bo"}},
        {"provider_id": "1", "name": "Café Uno", "traits": {"email": "uno@example.org"}},
        {"relation_id": "10", "consumer_id": "1", "provider_id": "1"} | bought,
        {"relation_id": "11", "consumer_id": "2", "provider_id": "1"} | bought,
    ]
    assert {one["time"] for one in recorder.events()} == {"2025-12-31T12:00:00Z"}
    (bad,) = rejected(mapping)
    assert (bad["source"], bad["number"], bad["field"]) == ("relations", 3, "data.consumer_id")
    assert bad["row"] == {"id": 12, "consumer_id": None, "provider_id": 1}


def test_the_example_of_sqlite_has_its_file(tmp_path: Path) -> None:
    """As the guide teaches it, in a fresh clone."""
    for name in ("sqlite.toml", "shop.sqlite"):
        shutil.copy(DATA / name, tmp_path)
    report = imported(tmp_path / "sqlite.toml")
    assert (report.read, report.accepted, report.rejected) == (6, 5, 1)


def test_sqlite_query(tmp_path: Path) -> None:
    shop(tmp_path / "shop.sqlite")
    query = 'query = "SELECT \'c\' || consumer_id AS who, provider_id AS \\"where\\" FROM relations WHERE id < 12"'
    recorder = Recorder()
    assert imported(visits(tmp_path, "shop.sqlite", query), recorder).rejected == 0
    assert pairs(recorder) == [("c1", "1"), ("c2", "1")]


def test_gzipped_json_lines_with_nested_objects(tmp_path: Path) -> None:
    lines = [
        {"who": 1, "where": "p1", "shop": {"tags": ["a", "b"]}, "seen": {"at": 1714521600}, "extra": {"x": 1}},
        {"who": 2, "where": "p2"},
    ]
    with gzip.open(tmp_path / "visits.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(line) for line in lines) + "\n\n")
    fields = """
    occurred_at = { column = "seen.at", format = "unix" }
    traits.tags = "shop.tags"
    """
    recorder = Recorder()
    assert imported(visits(tmp_path, "visits.jsonl.gz", fields=fields), recorder).accepted == 2
    first, second = (one["data"] for one in recorder.events())
    assert (first["consumer_id"], first["occurred_at"]) == ("1", "2024-05-01T00:00:00Z")
    assert first["traits"] == {"tags": ["a", "b"]}
    assert "traits" not in second


def test_a_whole_object_and_json_that_is_not_utf_8(tmp_path: Path) -> None:
    lines = (
        '{"who": "José", "where": "p", "more": {"a": 1, "b": [true, "x"]}}\n{"who": "c", "where": "p", "more": 1}'
    )
    (tmp_path / "v.ndjson").write_text(lines, encoding="utf-16")
    mapping = visits(tmp_path, "v.ndjson", 'encoding = "utf-16"', 'traits = "more"')
    recorder = Recorder()
    imported(mapping, recorder)
    (event,) = recorder.events()
    assert (event["data"]["consumer_id"], event["data"]["traits"]) == ("José", {"a": 1, "b": [True, "x"]})
    assert [one["detail"] for one in rejected(mapping)] == ["is not a JSON object (column more)"]


def test_csv_in_another_encoding_gzipped_with_tabs_and_own_column_names(tmp_path: Path) -> None:
    (tmp_path / "v.tsv.gz").write_bytes(gzip.compress("José\tCafé\nZoë\t'Bar\tB'\n".encode("latin-1")))
    options = 'encoding = "latin-1"\nheader = false\ncolumns = ["who", "where"]\nquote = "\'"'
    recorder = Recorder()
    imported(visits(tmp_path, "v.tsv.gz", options), recorder)
    assert pairs(recorder)[0] == ("José", "Café")
    # A tab within an id is refused by the schema, so the quoted one shows in the rejects.
    assert rejected(tmp_path / "mapping.toml")[0]["row"] == {"who": "Zoë", "where": "Bar\tB"}


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes("\ufeffwho,where\nc,p\n".encode())
    recorder = Recorder()
    imported(visits(tmp_path, "v.csv"), recorder)
    assert pairs(recorder) == [("c", "p")]


def test_bad_rows_are_written_down_and_the_others_pass(tmp_path: Path) -> None:
    content = (
        b'who,where,stars\nc1,p1,5\nc2,p2,1,x\nc3,p3,many\n,p4,1\nc\xe95,p5,1\n"c\n6",p6,1\nc7,p7,101\nc8,p8,8\n'
    )
    (tmp_path / "v.csv").write_bytes(content)
    mapping = visits(tmp_path, "v.csv", fields='rating = "stars"')
    recorder = Recorder()
    report = imported(mapping, recorder)
    assert (report.read, report.accepted, report.rejected) == (8, 2, 6)
    assert pairs(recorder) == [("c1", "p1"), ("c8", "p8")]
    bad = rejected(mapping)
    assert [(one["number"], one["reason"], one["field"]) for one in bad] == [
        (3, "columns", None),
        (4, "invalid", "data.rating"),
        (5, "invalid", "data.consumer_id"),
        (6, "encoding", None),
        (8, "invalid", "data.consumer_id"),
        (9, "invalid", "data.rating"),
    ]
    assert [one["detail"] for one in bad[:2]] == ["has 4 columns instead of 3", "is not a number (column stars)"]
    assert bad[2]["detail"] == "is required"
    assert bad[1]["row"] == {"who": "c3", "where": "p3", "stars": "many"}
    assert bad[3]["row"]["who"] == "c\\xe95"
    assert stat.S_IMODE(rejects_of(mapping).stat().st_mode) & 0o077 == 0


def test_rejects_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    mapping = visits(tmp_path, "v.csv")
    (tmp_path / "v.csv").write_text("who,where\nc1,\nc2,\n")
    imported(mapping)
    assert len(rejected(mapping)) == 2
    (tmp_path / "v.csv").write_text("who,where\n,p1\n")
    imported(mapping)
    assert [one["row"]["where"] for one in rejected(mapping)] == ["p1"]
    (tmp_path / "v.csv").write_text("who,where\nc1,p1\n")
    imported(mapping)
    assert not rejects_of(mapping).exists()


def test_lines_that_are_no_json_objects_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_bytes(b'{"who": "c", "where": "p"}\n{"who": \n[1]\n{"who": "\xff"}\n')
    mapping = visits(tmp_path, "v.jsonl")
    assert imported(mapping, Recorder()).accepted == 1
    assert [(one["number"], one["reason"]) for one in rejected(mapping)] == [
        (2, "not_json"),
        (3, "not_json"),
        (4, "not_json"),
    ]


def test_an_event_that_is_too_large_or_in_the_future_is_rejected(tmp_path: Path) -> None:
    long = ["x" * 900] * 50
    lines = [
        {"who": "c1", "where": "p", "long": long, "at": "2020-01-01T00:00Z"},
        {"who": "c2", "where": "p", "at": "2030-01-01T00:00Z"},
    ]
    (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, lines)))
    mapping = visits(tmp_path, "v.jsonl", fields='traits.long = "long"')
    mapping.write_text(mapping.read_text().replace("time = 2024-05-01T00:00:00Z", 'time = "at"'))
    assert imported(mapping, Recorder()).accepted == 0
    assert [one["reason"] for one in rejected(mapping)] == ["too_large", "in_the_future"]


def test_equal_rows_without_an_id_are_two_facts_in_any_order_and_any_run(tmp_path: Path) -> None:
    lines = ["c1,p1", "c1,p1", "c1,p1", "c2,p1"]
    mapping = visits(tmp_path, "v.csv")
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        (tmp_path / "v.csv").write_text("\n".join(["who,where", *lines]))
        recorder = Recorder()
        imported(mapping, recorder)
        events = [json.loads(message.value) for message in recorder.messages]
        # The row's place in the file orders events of one time, so it is all that another order changes.
        found.append({event["id"]: {**event, "sequence": None} for event in events})
        again = Recorder()
        imported(mapping, again)
        assert [message.value for message in again.messages] == [message.value for message in recorder.messages]
    assert found[0] == found[1] == found[2]
    ids = {event["data"]["relation_id"] for event in found[0].values()}
    assert len(ids) == len(found[0]) == 4


def test_a_relation_without_an_id_takes_that_of_its_event(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where,no\nc1,p1,7\n")
    recorder = Recorder()
    imported(visits(tmp_path, "v.csv", options='id = { template = "visit-{no}" }'), recorder)
    (event,) = recorder.events()
    assert (event["id"], event["data"]["relation_id"]) == ("visit-7", "visit-7")


def test_a_path_may_name_an_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "v.csv").write_text("who,where\nc1,p1\n")
    mapping = visits(tmp_path, "$KITH_TEST_FOLDER/v.csv")
    with pytest.raises(MappingError, match="is the environment variable set"):
        imported(mapping)
    monkeypatch.setenv("KITH_TEST_FOLDER", os.fspath(tmp_path / "deep"))
    assert imported(mapping).accepted == 1


@pytest.mark.parametrize(
    ("file", "content", "options", "message"),
    [
        ("no.csv", None, "", "no.csv: there is no such file"),
        ("v.csv", b"", "", "v.csv: has no header line"),
        ("v.csv", b"who,who,where\n", "", 'two columns are called "who"'),
        ("v.csv", b"who,place\n", "", 'fields.provider_id: v.csv has no column "where", but who, place'),
        ("v.csv.gz", b"who,where\nc,p\n", "", "v.csv.gz: cannot be read"),
        ("v.db", b"this is no database " * 100, 'table = "t"', "v.db: cannot be read: file is not a database"),
        ("v.db", b"", 'table = "t"', "v.db: cannot be read: no such table: t"),
        ("v*.csv", None, "", r"there is no such file \(a path is one file: \* and \? stand for themselves"),
        ("v.csv", gzip.compress(b"who,where\n"), "", "is not text, but packed by gzip"),
        ("v.csv", b"PK\x03\x04" + bytes(80), "", "is not text, but a workbook"),
        ("v.jsonl", b"PAR1\x15\x04", "", 'is not text, but Parquet: set format = "parquet"'),
        ("v.csv", b"SQLite format 3\0" + bytes(80), "", "is not text, but a database"),
        ("v.jsonl", b'[{"who": "c", "where": "p"}]', "", r"one line each: jq -c '\.\[\]' makes such lines"),
        ("v.jsonl", b'\xef\xbb\xbf [\r\n {"who": "c"}\r\n]', "", r"jq -c '\.\[\]' makes"),
        ("v.jsonl", b'{\n "who": "c",\n "where": "p"\n}\n', "", r"jq -c '\.' makes such lines"),
        ("v.csv", b"Who,where\n", "", 'has no column "who", but "Who", which differs in case'),
        ("v.csv", "\u200bwho,where\n".encode(), "", r'has no column "who", but "\\u200bwho", which differs'),
    ],
)
def test_files_that_are_not_as_the_mapping_says(
    tmp_path: Path, file: str, content: bytes | None, options: str, message: str
) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    recorder = Recorder()
    with pytest.raises(MappingError, match=message):
        imported(visits(tmp_path, file, options), recorder)
    assert recorder.messages == []


@pytest.mark.parametrize("format", ["csv", "jsonl", "xlsx", "sqlite", "parquet"])
def test_a_pipe_and_a_folder_are_no_files(tmp_path: Path, format: str) -> None:
    """A pipe without a writer would be waited for, and one with a writer could be read once only."""
    os.mkfifo(tmp_path / "pipe")
    options = f'format = "{format}"' + ('\ntable = "t"' if format == "sqlite" else "")
    with pytest.raises(MappingError, match="pipe: is no file, and a pipe cannot be read twice"):
        imported(visits(tmp_path, "pipe", options))
    (tmp_path / "folder").mkdir()
    with pytest.raises(MappingError, match="folder: is a folder: name a file in it"):
        imported(visits(tmp_path, "folder", options))


@pytest.mark.parametrize("change", ["append", "replace"])
def test_a_file_that_changes_while_it_is_read_is_said(tmp_path: Path, change: str) -> None:
    path = tmp_path / "v.csv"
    path.write_text("who,where\n" + "c,p\n" * 600)

    class Writer(Recorder):
        def send(self, messages: Sequence[Message]) -> Future[None]:
            if not self.messages:
                target = path if change == "append" else tmp_path / "new"
                with target.open("a") as file:
                    file.write("who,where\nd,p\n")
                target.replace(path)
            return super().send(messages)

    (counts,) = imported(visits(tmp_path, "v.csv"), Writer()).sources
    assert [note for note in counts.notes if "has changed while it was read" in note]


def test_a_later_source_is_checked_before_an_earlier_one_is_published(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where\nc1,p1\n")
    mapping = visits(tmp_path, "v.csv")
    text = mapping.read_text()
    write_mapping(tmp_path, text + text.replace("v.csv", "later.csv"))
    recorder = Recorder()
    with pytest.raises(MappingError, match=r"later\.csv"):
        imported(mapping, recorder)
    assert recorder.messages == []


COLLECT = """
[source.collect.tags]
path = "tags.csv"
key = "id"
value = "tag"
on = "who"
"""


def test_lists_from_another_file_by_a_key_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where\nc1,p1\nc2,p1\n")
    (tmp_path / "tags.csv").write_text("id,tag\nc1,b\nc1,a\nc1,b\nc1,\n,x\n")
    recorder = Recorder()
    imported(visits(tmp_path, "v.csv", COLLECT, 'traits.tags = { collect = "tags" }'), recorder)
    assert [one["data"].get("traits") for one in recorder.events()] == [{"tags": ["b", "a"]}, None]


def test_a_bad_row_of_another_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where\nc1,p1\n")
    (tmp_path / "tags.csv").write_text("id,tag\nc1,a\nc1,b,c\n")
    recorder = Recorder()
    mapping = visits(tmp_path, "v.csv", COLLECT, 'traits.tags = { collect = "tags" }')
    report = imported(mapping, recorder)
    assert (report.read, report.accepted, report.rejected) == (2, 1, 1)
    (bad,) = rejected(mapping)
    assert (bad["source"], bad["number"], bad["detail"]) == ("v.collect.tags", 3, "has 3 columns instead of 2")
    assert recorder.events()[0]["data"]["traits"] == {"tags": ["a"]}
