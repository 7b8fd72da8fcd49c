"""Tables: whatever the cells and the terminal, nothing that is shown is broken."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from services.cli import audit, recommend_view, webhook
from services.cli.dead_letters_view import table
from services.cli.tables import Column, Row, fitted, with_notes

ids = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-_./:,"), max_size=24)


#: Longer than a line, wide, from right to left, with marks above letters.
LONG = ["x" * 64, "y-" * 45, "z" * 200, "日本" * 50, "שלום" * 16, "é" * 90, "e\u0301" * 90]


def shown(columns: list[Column], rows: list[Row], width: int, notes: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    if notes:
        console.print(with_notes("Title", columns, rows, [Text("note") for _ in rows], console))
    else:
        console.print(fitted("Title", columns, rows, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@given(st.lists(st.tuples(ids, ids, ids, ids, ids), min_size=1, max_size=5), st.integers(30, 200), st.booleans())
def test_a_cell_is_whole_or_its_column_is_not_there(cells: list[tuple[str, ...]], width: int, notes: bool) -> None:
    columns = [Column(f"C{n}", right=n % 2 == 0, rank=n or 9) for n in range(5)]
    lines = shown(columns, [Row(row) for row in cells], width, notes)
    assert max(map(len, lines)) <= width
    heads = next(line for line in lines if line.split() and line.split()[0].startswith("C")).split()
    kept = [int(head[1:]) for head in heads]
    assert kept[0] == 0, "the column that must stay"
    rule = next(number for number, line in enumerate(lines) if line.startswith("─"))
    body = [line for line in lines[rule + 1 :] if not notes or line.strip() != "note"]
    assert len(body) == len(cells)
    for line, row in zip(body, cells, strict=True):
        assert line.split() == [row[n] for n in kept if row[n]]


@given(st.integers(40, 120))
def test_prose_goes_over_lines_and_numbers_do_not(width: int) -> None:
    prose = "nothing of a person who is erased goes into Kafka, whatever is asked for"
    lines = shown(
        [Column("Why", wrap=True), Column("Count", right=True)], [Row([prose, "1,234,567"])], width, False
    )
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "1,234,567" in text
    assert all(word in text for word in prose.split())


def test_what_could_disturb_a_terminal_is_escaped() -> None:
    [line] = [line for line in shown([Column("A")], [Row(["x\x1b[2Jy[red]z"])], 80, False) if "x" in line]
    assert line.strip() == "x\\x1b[2Jy[red]z"


@given(
    st.lists(st.tuples(st.sampled_from([*LONG, "short"]), st.integers(-(10**9), 10**9)), min_size=1, max_size=4),
    st.integers(20, 200),
    st.booleans(),
)
def test_what_cannot_be_left_out_takes_several_lines(
    cells: list[tuple[str, int]], width: int, notes: bool
) -> None:
    columns = [Column("ID"), Column("NET SUM", right=True), Column("RATE", right=True)]
    rows = [Row([id, f"{number:,}.00", "0.1234"]) for id, number in cells]
    lines = shown(columns, rows, width, notes)
    assert max(map(cell_len, lines)) <= width
    around = ("Title", "note", "ID", "NET", "SUM", "RATE")
    words = [word for line in lines for word in line.split() if word not in around and word[0] != "─"]
    numbers = [number for row in rows for number in row.cells[1:]]
    assert [word for word in words if word in numbers] == numbers
    assert "".join(word for word in words if word not in numbers) == "".join(id for id, _ in cells)


def recommended(id: str) -> None:
    item = {"provider_id": id, "name": id, "score": 0.1234, "because": []}
    recommend_view.show({"items": [item]}, "provider")


def called(id: str) -> None:
    figures = {"risk": 0.34, "expected_value_minor": 1234567890, "affinity": 0.1234, "months": 12}
    item = {"consumer_id": id, **figures, "last_month": "2026-11", "because": []}
    recommend_view.show_calls({"items": [item], "currency": "EUR", "churn_model": {"reliable": True}})


def endpoints(id: str) -> None:
    webhook._show(
        [{"endpoint": id, "state": "active", "queued": 1234, "behind": 0, "failed": 0, "url": "https://a"}]
    )


def audited(id: str) -> None:
    audit._show({id: 1234}, {id: 5678})


def letters(id: str) -> None:
    letter = {
        "id": id,
        "time": "2026-11-30T10:00:00Z",
        "state": "open",
        "field": None,
        "reason": "x",
        "detail": "wrong",
    }
    console = Console()
    console.print(table([letter], console))


@pytest.mark.parametrize("show", [recommended, called, endpoints, audited, letters])
@pytest.mark.parametrize("id", LONG)
def test_a_long_id_is_whole_and_drops_no_figure(
    show: Any, id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figures = {
        recommended: "0.1234",
        called: "34% 12,345,678.90",
        endpoints: "1,234",
        audited: "1,234",
        letters: "x:",
    }
    show(id)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= 80
    words = [word for line in lines for word in line.split()]
    assert set(figures[show].split()) <= set(words)
    pieces = [word for word in words if word in id]
    assert "".join(pieces) == id
