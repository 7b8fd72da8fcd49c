"""No row of a file vanishes or is merged, however the file is damaged."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.importer import csv_rows
from services.importer.csv_rows import Cells, Dialect, Refused, read_csv
from services.importer.csv_widths import Whole, Widths, fit, whole_rows
from services.importer.mapping import MappingError
from tests.support.importer import Recorder, imported, rejected, visits, write_mapping

MARKS = ['"', '""', '"\n', "\n", "\r\n", ";", "x"]
WORDS = st.text(alphabet='ab "\n;,\u00e9', max_size=6)


def read(text: str, **options: bool) -> list[Cells | Refused]:
    lines = io.StringIO(text, newline="")
    return list(read_csv(lines, Dialect(";", '"', **options)))


def apart(row: Cells | Refused) -> list[Cells | Refused]:
    """The lines of a row that does not fit, as they are rejected."""
    assert isinstance(row, Cells)
    return [*csv_rows.apart(row, "")] if row.lines else [row]


def whole(text: str) -> list[list[str]]:
    return [one.cells for one in read(text) if isinstance(one, Cells)]


def written(rows: list[list[str]], quoting: int) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=";", quoting=quoting, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return file.getvalue()


@st.composite
def tables(draw: st.DrawFn, cell: st.SearchStrategy[str]) -> list[list[str]]:
    """Rows of three cells, the first of which names the row."""
    count = draw(st.integers(1, 8))
    return [[f"r{n}", draw(cell), f"{draw(cell)}#{n}"] for n in range(count)]


@given(tables(st.text(alphabet='ab" ;,\u00e9', max_size=6)), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_whole_rows_are_read_as_they_were_written(rows: list[list[str]], quoting: int) -> None:
    assert whole(written(rows, quoting)) == rows


@given(tables(st.text(alphabet="ab \n\r", max_size=6)))
def test_line_breaks_in_quotes_are_part_of_a_cell(rows: list[list[str]]) -> None:
    assert whole(written(rows, csv.QUOTE_ALL)) == rows


@pytest.mark.parametrize("ending", ['x"', 'r9;x"', 'a;b;c;d"'])
def test_rows_between_two_stray_marks_are_no_text(ending: str) -> None:
    """Whatever the line looks like in which the cell ends."""
    text = f'r1;a;"b\nr2;c;d\nr3;e;f\n{ending}\nr5;g;h\n'
    found = read(text)
    assert [one.number for one in found if isinstance(one, Refused)] == [1, 2, 3, 4]
    assert whole(text) == [["r5", "g", "h"]]
    whole_lines = read(text, whole_lines=True)
    assert [one.cells[0] for one in whole_lines if isinstance(one, Cells)] == ["r1", "r5"]


def test_prose_in_a_cell_is_no_row() -> None:
    assert whole('r1;"Dear all; thanks; bye\nAda; Bob; Cy\nend";b\n') == [
        ["r1", "Dear all; thanks; bye\nAda; Bob; Cy\nend", "b"]
    ]


@settings(max_examples=400)
@given(tables(WORDS), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.data())
def test_each_line_is_in_one_row_and_no_row_is_made_of_two(
    rows: list[list[str]], quoting: int, data: st.DataObject
) -> None:
    text = written(rows, quoting)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 2))
        # Of a row without its delimiters, nothing can say that it was one.
        gone = 0 if ";" in text[at : at + gone] else gone
        text = text[:at] + data.draw(st.sampled_from(["", *MARKS])) + text[at + gone :]
    text = text[: data.draw(st.integers(len(text) // 2, len(text)))]
    found = read(text)
    # Every line with anything in it is accounted for, once and in order.
    lines = io.StringIO(text, newline="").readlines()
    last = 0
    for one in found:
        first = last + 1
        while first < one.number and not lines[first - 1].rstrip("\r\n"):
            first += 1
        if isinstance(one, Refused):
            assert one.number == first
            assert one.content == lines[one.number - 1].rstrip("\r\n")
        else:
            assert one.number >= first
        last = one.number
    assert not any(line.rstrip("\r\n") for line in lines[last:])
    # A name of one row and the mark of another never meet in a row that fits.
    for cells in (
        fit(one.cells, ("name", "text", "mark"), frozenset()) for one in found if isinstance(one, Cells)
    ):
        if cells and cells[0][:1] == "r" and cells[0][1:].isdigit() and cells[2].count("#") == 1:
            number = cells[2].partition("#")[2]
            assert not number.isdigit() or number.startswith(cells[0][1:]) or cells[0][1:].startswith(number)


@settings(max_examples=300)
@given(st.data(), st.integers(2, 6), st.integers(2, 4))
def test_two_stray_marks_merge_no_rows(data: st.DataObject, count: int, width: int) -> None:
    word = st.text(alphabet="ab ,\u00e9", max_size=4)
    rows = [[f"{data.draw(word)}#{n}" for _ in range(width)] for n in range(count)]
    first, last = sorted(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2)))
    column = data.draw(st.integers(0, width - 1))
    rows[first][column] = '"' + rows[first][column]
    rows[last][data.draw(st.just(column) | st.integers(0, width - 1))] += '"'
    lines = read("".join(f"{';'.join(row)}\n" for row in rows))
    names = tuple("xyzw"[:width])
    fitting = [not isinstance(one, Cells) or fit(one.cells, names, frozenset(names)) is not None for one in lines]
    found = [line for one, fits in zip(lines, fitting, strict=True) for line in ([one] if fits else apart(one))]
    for one in found:
        text = ";".join(one.cells) if isinstance(one, Cells) else one.content
        assert len({part[:1] for part in text.split("#")[1:]}) == 1, "one row is of one line"
    assert len(found) == count


def test_one_stray_mark_rejects_the_lines_that_may_belong_together(tmp_path: Path) -> None:
    rows = [f"c{n},p{n},call {n}" for n in range(1, 21)]
    rows[4] = 'c5,p5,"screen 15 inch, cracked'
    (tmp_path / "v.csv").write_text("\n".join(["who,where,said", *rows]) + "\n")
    mapping = visits(tmp_path, "v.csv", fields='text = "said"')
    report = imported(mapping, recorder := Recorder())
    assert (report.read, report.accepted, report.rejected) == (20, 4, 16)
    assert [one["data"]["consumer_id"] for one in recorder.events()] == ["c1", "c2", "c3", "c4"]
    assert {one["detail"] for one in rejected(mapping)} == {
        "is in a cell whose quotation mark, in line 6, never ends"
    }
    assert report.sources[0].notes == ["line 6 is in a cell whose quotation mark, in line 6, never ends"]


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ('a;"b\nc;d"\n', ["looks like a row in a quoted cell"] * 2),
        ('a;"b\nc;d";e\n', ["looks like a row in a quoted cell"] * 2),
        ('"a;b\nc";d\n', ["looks like a row in a quoted cell"] * 2),
        ('a;b"\nc;d\n', ["a quotation mark in a cell that does not begin with one"]),
        ('a;"b"c\nc;d\n', ["has text behind a quotation mark"]),
        ('a;"b\nx"y;d\ne;f\n', ["has text behind a quotation mark"] * 2),
        ('a;b\nc;"d', ["quotation mark, in line 2, never ends"]),
        ('a;b\nc;"d\ne\n', ["quotation mark, in line 2, never ends"] * 2),
    ],
)
def test_what_a_stray_mark_does(text: str, details: list[str]) -> None:
    refused = [one.detail for one in read(text) if isinstance(one, Refused)]
    assert len(refused) == len(details)
    assert all(detail in one for one, detail in zip(refused, details, strict=True)), refused


@pytest.mark.parametrize(
    "text", ['a;"one\ntwo"\n', '"one\ntwo";b\n', 'a;"one\n\ntwo; three\nend"\n', 'a;"say ""so""\nnow"\n']
)
def test_cells_over_several_lines_are_one_row(text: str) -> None:
    (row,) = read(text)
    assert isinstance(row, Cells)
    assert len(row.cells) == 2


def test_a_mapping_may_say_that_cells_hold_whole_lines() -> None:
    assert [len(one) for one in read('a;"b\nc;d"\n')] == [3, 3]
    assert read('a;"b\nc;d"\n', whole_lines=True) == [Cells(2, ["a", "b\nc;d"], ('a;"b', 'c;d"'))]


def test_lines_that_a_stray_mark_joins_into_a_row_that_does_not_fit_are_rejected_one_by_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "v.csv").write_text('who,where\n"c1,p1\nc2,p2"\nc3,p3\n')
    mapping = visits(tmp_path, "v.csv")
    report = imported(mapping)
    assert (report.read, report.accepted, report.rejected) == (3, 1, 2)
    assert [one["row"] for one in rejected(mapping)] == ['"c1,p1', 'c2,p2"']


def test_a_stray_mark_does_not_hold_a_whole_file() -> None:
    text = 'a;"b\n' + "c;d\n" * 100_000
    found = read(text)
    assert len(found) == 100_001
    assert sum(isinstance(one, Refused) for one in found) < 40_000
    assert isinstance(found[-1], Cells)


def test_a_file_that_ends_within_a_line_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where\nc1,p1\nc2,p")
    report = imported(visits(tmp_path, "v.csv"))
    assert "the last line does not end with a line break" in report.sources[0].notes[0]


def test_a_header_with_a_stray_mark_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text('who,wh"ere\nc1,p1\n')
    with pytest.raises(MappingError, match="line 1, the header, has a quotation mark in a cell"):
        imported(visits(tmp_path, "v.csv"))


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a", "b", "c", ""], ["a", "b", "c"]),
        (["a", "b", "c", " ", ""], ["a", "b", "c"]),
        (["a", "b"], ["a", "b", ""]),
        (["a", "b", "c", "d"], None),
        (["a"], None),
    ],
)
def test_a_missing_or_an_extra_empty_last_cell_is_fine(cells: list[str], found: list[str] | None) -> None:
    assert fit(cells, ("x", "y", "z"), frozenset({"x"})) == found
    assert fit(["a", "b"], ("x", "y", "z"), frozenset({"z"})) is None


def test_columns_without_a_name_need_no_cell() -> None:
    assert fit(["a"], ("x", "", ""), frozenset({"x"})) == ["a", "", ""]
    assert fit(["a", "b", "c"], ("x", "", ""), frozenset({"x"})) == ["a", "b", "c"]


COLUMNS = ("no", "day", "who", "where", "note")
NEEDED = frozenset(COLUMNS[:4])
PLAIN = st.text(alphabet="ab 1", max_size=3)


@settings(max_examples=300)
@given(st.data(), st.integers(2, 8), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["\n", "\r", "\r\n"]))
def test_a_lost_or_stray_delimiter_or_line_break_merges_and_cuts_no_row(
    data: st.DataObject, count: int, ending: str, stray: str
) -> None:
    """Wherever it is. The last column may be left out, and the one before it may be empty."""
    rows = [
        [f"r{n}", f"d{n}", f"c{n}{data.draw(PLAIN)}".strip(), data.draw(st.just("") | PLAIN), data.draw(PLAIN)]
        for n in range(count)
    ]
    lines = [";".join(row) for row in rows]
    text = ending.join([*lines, ""])
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from([";", stray])) + text[at:]
    else:
        marks = [at for at, sign in enumerate(text) if sign == ";" or text.startswith(ending, at)]
        at = data.draw(st.sampled_from(marks))
        text = text[:at] + text[at + (1 if text[at] == ";" else len(ending)) :]
    found = whole_rows(read(text), Widths(COLUMNS, NEEDED - {"where"}))
    # A line break beside blanks cuts off nothing else, and an import takes them from each cell.
    trimmed = [[cell.strip() for cell in row] for row in rows]
    accepted = [[cell.strip() for cell in one.cells] for one in found if isinstance(one, Whole)]
    assert [cells for cells in accepted if cells not in trimmed] == []
    assert len(accepted) >= count - 3


@pytest.mark.parametrize("blank", ["  ", "\t", "\x1a", " \x1a", "\u00a0"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_line_of_blanks_costs_no_other_row(blank: str, place: int) -> None:
    lines = [f"r{n};d;c;s;n" for n in range(4)]
    lines.insert(place, blank)
    found = whole_rows(read("\n".join(lines)), Widths(COLUMNS, NEEDED))
    assert [one.cells[0] for one in found if isinstance(one, Whole)] == ["r0", "r1", "r2", "r3"]


def test_a_footer_may_be_the_rest_of_the_last_row() -> None:
    text = "r0;d;c;s;call 1\nr1;d;c;s;call\n{}\n"
    for footer in ("(3 rows)", "Total", "2"):
        found = whole_rows(read(text.format(footer)), Widths(COLUMNS, NEEDED))
        assert [one.cells[0] for one in found if isinstance(one, Whole)] == ["r0"]


ORDERS = """no;date;customer;shop;note
t0;2026-03-01;c0;s0;call 0
t1;2026-03-01;c1;s1call 1
t2;2026-03-02;c2s1;call 2
t3;2026-03-03;c3;s3;call 3
t4;2026-03-04;c4;s4;ca\rll 4
t5;2026-03-05;c5;s5;
t6;2026-03-06;c;6;s6;
t7;2026-03-07;c7;s7;call 7
"""


def orders(folder: Path, text: str, options: str = "") -> Path:
    (folder / "o.csv").write_bytes(text.encode())
    return write_mapping(
        folder,
        f"""[[source]]
path = "o.csv"
type = "relation.recorded"
time = 2025-03-01T00:00:00Z
delimiter = ";"
{options}
[source.fields]
relation_id = "no"
kind = {{ const = "visit" }}
consumer_id = "customer"
provider_id = "shop"
text = "note"
""",
    )


def test_a_lost_delimiter_is_no_empty_last_cell(tmp_path: Path) -> None:
    mapping = orders(tmp_path, ORDERS)
    report = imported(mapping, recorder := Recorder())
    assert [one["data"]["relation_id"] for one in recorder.events()] == ["t0", "t3", "t7"]
    assert (report.read, report.rejected) == (9, 6)
    assert [(one["number"], one["detail"].partition(";")[0]) for one in rejected(mapping)] == [
        (3, "has 4 columns instead of 5: its last cell or a delimiter is missing"),
        (4, "has 4 columns instead of 5: its last cell or a delimiter is missing"),
        (6, "may go on in line 7, which is no row of its own"),
        (7, "has 1 columns instead of 5"),
        (8, "may begin in line 7, which is no row of its own"),
        (9, "has 6 columns instead of 5: a delimiter may be too many"),
    ]
    assert "short_rows = true" in rejected(mapping)[0]["detail"]


def test_a_mapping_may_say_that_rows_are_short(tmp_path: Path) -> None:
    text = "no;date;customer;shop;note\nt1;d;c1;s1\nt2;d;c2;s2;call\nt3;d;c3;s3;call;;\nt4;d;c4\n"
    assert imported(orders(tmp_path, text)).accepted == 1
    report = imported(orders(tmp_path, text, "short_rows = true"))
    assert (report.accepted, report.rejected) == (3, 1)
    assert report.sources[0].notes == ['1 rows lack their last cell ("note"), which was read as empty']


@pytest.mark.parametrize(
    ("rows", "accepted"),
    [
        (["t{n};d;c;s"] * 4, 4),
        (["t{n};d;c;s;"] * 4, 4),
        (["t{n};d;c;s;;"] * 4, 4),
        # Excel leaves the cells of empty columns out, sixteen rows at a time.
        (["t{n};d;c;s;"] * 15 + ["t{n};d;c;s"] * 16, 31),
        (["t{n};d;c;s;x"] * 15 + ["t{n};d;c;s"] * 16, 15),
        (["t{n};d;c;s;"] * 15 + ["t{n};d;c;s"] * 16 + ["t{n};dc;s;"], 31),
        (["t{n};d;c;s;x;"] * 15 + ["t{n};dc;s;x;"], 15),
        (["t{n};d;c;s;x;"] * 8 + ["t{n};d;c;s;x"] * 8, 16),
    ],
)
def test_what_all_rows_leave_out_or_append_is_the_habit_of_the_file(
    tmp_path: Path, rows: list[str], accepted: int
) -> None:
    text = "\n".join(["no;date;customer;shop;note", *(row.format(n=n) for n, row in enumerate(rows)), ""])
    assert imported(orders(tmp_path, text)).accepted == accepted


def test_what_is_accepted_by_its_place_alone_is_said_once(tmp_path: Path) -> None:
    rows = [f"t{n};d;c;s" if n % 50 == 0 else f"t{n};d;c;s;" for n in range(3_000)]
    rows[2_700] = "t2700;d;c;s;x"
    text = "\n".join(["no;date;customer;shop;note", *rows, ""])
    report = imported(orders(tmp_path, text))
    assert (report.accepted, report.rejected) == (2_975, 25)
    said, counted = report.sources[0].notes
    assert said.startswith("line 1702 lacks its last cell and is rejected, though others before it were accepted")
    assert "short_rows = true" in said
    assert counted.startswith("34 rows lack their last cell")
    report = imported(orders(tmp_path, text, "short_rows = true"))
    assert (report.accepted, len(report.sources[0].notes)) == (3_000, 1)


def test_habits_are_seen_far_into_a_file_and_forgotten_by_none(tmp_path: Path) -> None:
    rows = [f"t{n};d;c;s;x" for n in range(5_000)]
    for n in (0, 2_500, 4_999):
        rows[n] = f"t{n};d;c;sx"
    report = imported(orders(tmp_path, "\n".join(["no;date;customer;shop;note", *rows, ""])))
    assert (report.accepted, report.rejected) == (4_997, 3)
