"""Tables: whatever the cells and the terminal, nothing that is shown is broken."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from services.cli.tables import Column, Row, fitted, with_notes

ids = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-_./:,"), max_size=24)


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
