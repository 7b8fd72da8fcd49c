"""The file of rejected rows destroys nothing: no input, and no earlier file before there is a new one."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.importer import capture_command
from services.importer.mapping import MappingError
from services.importer.rejects import Rejects
from services.importer.row import Row
from shared.contracts.errors import ConfigurationError, InvalidEvent
from tests.support.capture import MAPPING, MemoryChanges, stored
from tests.support.importer import AS_OF, Recorder, imported, rejected, rejects_of, visits, write_mapping

TAGGED = """
[[source]]
path = "{file}"
type = "consumer.upserted"
[source.fields]
consumer_id = "who"
traits.tags = {{ collect = "tags" }}
[source.collect.tags]
path = "tags.jsonl"
key = "who"
value = "tag"
"""
BAD = InvalidEvent("invalid", "is bad", "data.x")


def written(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["mapping.toml", "v.jsonl", "tags.jsonl", "link"])
@pytest.mark.parametrize("publishing", [True, False])
def test_what_is_read_is_not_the_file_for_rejected_rows(tmp_path: Path, name: str, publishing: bool) -> None:
    (tmp_path / "v.jsonl").write_text('{"who": "c"}\n')
    (tmp_path / "tags.jsonl").write_text('{"who": "c", "tag": "x"}\n')
    mapping = write_mapping(tmp_path, TAGGED.format(file="v.jsonl"))
    (tmp_path / "link").symlink_to(tmp_path / "v.jsonl")
    before = (tmp_path / name).read_text()
    rejects_of(mapping).symlink_to(tmp_path / name)
    recorder = Recorder()
    with pytest.raises(ConfigurationError, match="is read, and cannot be the file for rejected rows as well"):
        imported(mapping, recorder if publishing else None)
    assert (tmp_path / name).read_text() == before
    assert recorder.messages == []


def test_an_import_that_fails_before_it_rejects_a_row_leaves_the_earlier_file(tmp_path: Path) -> None:
    mapping = visits(tmp_path, "v.jsonl")
    rejects_of(mapping).write_text("earlier\n")
    with pytest.raises(MappingError, match="there is no such file"):
        imported(mapping)
    assert rejects_of(mapping).read_text() == "earlier\n"


def test_the_earlier_file_stands_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("earlier\n")
    with Rejects(path) as rejects:
        rejects.add("v", Row(7, {}), BAD)
        rejects.sync()
        assert path.read_text() == "earlier\n"
    assert written(path) == [7]
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_rows_that_were_rejected_are_there(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("earlier\n")
    with suppress(KeyboardInterrupt), Rejects(path) as rejects:
        rejects.add("v", Row(7, {}), BAD)
        raise KeyboardInterrupt
    assert written(path) == [7]


def test_what_a_killed_run_left_is_removed_and_what_another_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    left = tmp_path / ".r.jsonl.abcdefgh.part"
    left.write_text("personal\n")
    with Rejects(path) as rejects:
        assert list(tmp_path.iterdir()) == []
        rejects.add("v", Row(7, {}), BAD)
        [draft] = tmp_path.iterdir()
        assert (draft.name[:9], draft.suffix, draft.stat().st_mode & 0o777) == (".r.jsonl.", ".part", 0o600)
        with Rejects(path) as other:
            other.add("v", Row(8, {}), BAD)
        assert written(path) == [8]
    assert written(path) == [7]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_written_into_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "null"
    path.symlink_to("/dev/null")
    with Rejects(path) as rejects:
        rejects.add("v", Row(7, {}), BAD)
    with Rejects(path):
        pass
    assert path.is_char_device()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "link.jsonl"
    path.symlink_to(tmp_path / "elsewhere" / "rejects.jsonl")
    with Rejects(path) as rejects:
        rejects.add("v", Row(7, {}), BAD)
    assert path.is_symlink()
    assert written(tmp_path / "elsewhere" / "rejects.jsonl") == [7]


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_file_is_written_into_where_it_stands(tmp_path: Path, name: str) -> None:
    """So that `--rejects /dev/stdout > file` neither replaces the file nor writes over the summary."""
    with (tmp_path / "out").open("wb") as out:
        out.write(b"before\n")
        out.flush()
        with Rejects(Path(name.format(out.fileno()))) as rejects:
            rejects.add("v", Row(7, {}), BAD)
        with Rejects(Path(name.format(out.fileno()))):
            pass
        out.write(b"behind\n")
    lines = (tmp_path / "out").read_bytes().splitlines()
    assert (lines[0], json.loads(lines[1])["number"], lines[2]) == (b"before", 7, b"behind")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/rejects.jsonl", "No such file or directory"),
        ("file/rejects.jsonl", "Not a directory"),
        (f"{'x' * 300}.jsonl", "File name too long"),
        ("circle", "its links lead nowhere"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_at_once(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ConfigurationError, match=said), Rejects(tmp_path / name):
        raise AssertionError("not begun")


def test_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"), Rejects(tmp_path):
        raise AssertionError("not begun")


def test_a_dry_run_of_capture_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Log(MemoryChanges):
        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(capture_command, "change_log", lambda *_: Log(stored("orders")))
    monkeypatch.setenv("KITH_KAFKA", "kafka.test:9092")
    mapping = write_mapping(tmp_path, MAPPING.read_text())
    rejects_of(mapping).write_text("earlier\n")
    app = typer.Typer()
    app.command("capture")(capture_command.capture_command)
    own = tmp_path / "dry-run-mapping.rejected.jsonl"
    for _ in range(2):
        result = CliRunner().invoke(app, [str(mapping), "--topic", "shop.public.orders", "--dry-run"])
        assert result.exit_code == 0, result.output
        assert f"Rejected changes, with their reasons: {own}" in result.stdout
        assert written(own) == [3, 7]
    assert rejects_of(mapping).read_text() == "earlier\n"


def test_capture_does_not_add_rejected_changes_to_its_mapping(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path, MAPPING.read_text())
    app = typer.Typer()
    app.command("capture")(capture_command.capture_command)
    result = CliRunner().invoke(app, [str(mapping), "--topic", "t", "--rejects", str(mapping)])
    assert (result.exit_code, "is read, and cannot be" in result.stderr) == (1, True)
    assert mapping.read_text() == MAPPING.read_text()


def test_a_doubtful_row_of_a_list_is_rejected_and_the_import_goes_on(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text('{"who": "c"}\n{"who": "d"}\n')
    (tmp_path / "tags.jsonl").write_text(
        '{"who": "c", "tag": "x"}\n{"who": "c", "tag": "y"\n'
        '{"who": "d", "tag": {"z": 1}}\n{"who": "d", "tag": 1}\n'
    )
    mapping = write_mapping(tmp_path, TAGGED.format(file="v.jsonl"))
    report = imported(mapping, recorder := Recorder())
    assert [one["data"]["traits"]["tags"] for one in recorder.events()] == [["x"], ["1"]]
    assert (report.read, report.accepted, report.rejected) == (4, 2, 2)
    assert [(one["source"], one["number"], one["reason"], one["field"]) for one in rejected(mapping)] == [
        ("v.collect.tags", 2, "not_json", None),
        ("v.collect.tags", 3, "invalid", "value"),
    ]
    assert report.sources[0].notes == ["2 rows of tags.jsonl were rejected, so that lists may lack a value"]


def test_the_lists_of_all_sources_are_read_before_anything_is_published(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text('{"who": "c"}\n')
    (tmp_path / "tags.jsonl").write_text('{"who": "c", "tags": "x"}\n')
    text = visits(tmp_path, "v.jsonl").read_text().replace('"where"', '"who"')
    mapping = write_mapping(tmp_path, text + TAGGED.format(file="v.jsonl").replace("path", 'name = "w"\npath', 1))
    recorder = Recorder()
    with pytest.raises(MappingError, match=r'collect\.tags\.value: no row has a column "tag", but "tags"'):
        imported(mapping, recorder, as_of=AS_OF)
    assert recorder.messages == []


@pytest.mark.parametrize(
    ("row", "column", "note"),
    [
        ({"total": 5}, "totl", 'fields.text: no row has a column "totl", but "total"'),
        ({"a": {"total": 5}}, "a.totl", 'fields.text: no row has a column "a.totl", but "a.total"'),
        ({"zahl": 5}, "total", 'fields.text: no row has a column "total"'),
        (
            {"cite\u0301": 5},
            "cit\u00e9",
            'fields.text: no row has a column "cit\u00e9", but one that is spelled in another Unicode form: '
            "copy the name from the file",
        ),
        ({"total": None}, "total", None),
        ({"a": {"total": None}}, "a.total", None),
        ({"a.total": 5}, "a.total", None),
    ],
)
def test_a_column_that_no_row_of_json_lines_has_is_noted(
    tmp_path: Path, row: dict[str, object], column: str, note: str | None
) -> None:
    rows = [{"who": "c", "where": "p"}, {"who": "c", "where": "p", **row}, {"who": "d", "where": "p"}]
    (tmp_path / "v.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    report = imported(visits(tmp_path, "v.jsonl", fields=f'text = "{column}"'))
    assert report.sources[0].notes == ([] if note is None else [note])


def test_a_file_without_rows_lacks_no_column(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text("\n[\n")
    assert imported(visits(tmp_path, "v.jsonl")).sources[0].notes == []
