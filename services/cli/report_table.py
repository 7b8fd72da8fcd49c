"""Tables that fit a terminal. Numbers, dates and ids are never broken; columns that do not fit go into a table
below."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

from shared.observability.terminal import is_harmless

#: Spaces between columns. A table that only fits with fewer uses fewer.
_GAP, _CLOSE = 2, 1
#: A column of texts is not made narrower than this.
_NARROW = 14


@dataclass(frozen=True, slots=True)
class Column:
    """``number``: aligned right. ``key``: identifies the row, and is repeated when a table continues below.
    ``text``: prose, which may wrap between words; ids, dates and numbers never wrap."""

    label: str
    cells: Sequence[str]
    number: bool = False
    key: bool = False
    text: bool = False

    @property
    def width(self) -> int:
        return max(map(cell_len, [*self.cells, *self.label.split()]), default=0)

    @property
    def least(self) -> int:
        """How narrow a column of texts may become: an address in it stays whole, so that it can be opened."""
        words = (word for cell in self.cells for word in cell.split() if _is_address(word))
        return max(map(cell_len, words), default=0) if self.text else self.width


def table(columns: Sequence[Column], width: int) -> Iterator[str]:
    """The lines of a table, none longer than ``width`` unless one value alone is. Columns that do not fit are
    shown in a further table with the same keys; where not even the keys fit, each row is a paragraph."""
    keys = [column for column in columns if column.key]
    rest = [column for column in columns if not column.key]
    widths = {id(column): column.width for column in columns}
    gap = _CLOSE if _total(columns, widths, _CLOSE) <= width < _total(columns, widths, _GAP) else _GAP
    wanted = max((widths[id(column)] for column in rest), default=0)
    _narrowed(keys, widths, width - gap - wanted if rest else width, gap)
    if _total(keys, widths, gap) + (gap + wanted if rest and keys else wanted) > width:
        yield from _paragraphs(columns, width)
        return
    block: list[Column] = []
    blocks = [block]
    for column in rest:
        if block and _total([*keys, *block, column], widths, gap) > width:
            block = []
            blocks.append(block)
        block.append(column)
    for number, part in enumerate(blocks):
        if number:
            yield ""
        yield from _block([*keys, *part], widths, gap)


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken between words, and within a word that is longer, unless
    it is the address of a page."""
    lines = [""]
    for word in text.split():
        whole = cell_len(word) <= width or _is_address(word)
        for part in [word] if whole else chop_cells(word, max(width, 2)):
            if not lines[-1]:
                lines[-1] = part
            elif cell_len(lines[-1]) + 1 + cell_len(part) <= width:
                lines[-1] += f" {part}"
            else:
                lines.append(part)
    return lines


def printable(text: str) -> str:
    """``text`` without control characters: upstream text could contain commands to the terminal."""
    return "".join(character if is_harmless(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def _is_address(word: str) -> bool:
    return "://" in word


def _narrowed(keys: Sequence[Column], widths: dict[int, int], room: int, gap: int) -> None:
    """Shorten the texts among the keys, widest first, until the keys fit."""
    while (beyond := _total(keys, widths, gap) - room) > 0:
        least = {id(column): max(_NARROW, column.least) for column in keys}
        texts = [column for column in keys if column.text and widths[id(column)] > least[id(column)]]
        if not texts:
            return
        widest = max(texts, key=lambda column: widths[id(column)])
        widths[id(widest)] = max(least[id(widest)], widths[id(widest)] - beyond)


def _total(columns: Sequence[Column], widths: dict[int, int], gap: int) -> int:
    return sum(widths[id(column)] for column in columns) + gap * max(0, len(columns) - 1)


def _block(columns: Sequence[Column], widths: dict[int, int], gap: int) -> Iterator[str]:
    heads = [wrapped(column.label, widths[id(column)]) for column in columns]
    height = max(map(len, heads))
    for at in range(height):
        yield _line(columns, widths, gap, [(["" for _ in range(height - len(head))] + head)[at] for head in heads])
    yield "─" * _total(columns, widths, gap)
    for row in range(max(len(column.cells) for column in columns)):
        cells = [
            wrapped(column.cells[row], widths[id(column)]) if column.text else [column.cells[row]]
            for column in columns
        ]
        for at in range(max(map(len, cells))):
            yield _line(columns, widths, gap, [cell[at] if at < len(cell) else "" for cell in cells])


def _line(columns: Sequence[Column], widths: dict[int, int], gap: int, cells: Sequence[str]) -> str:
    parts = []
    for column, cell in zip(columns, cells, strict=True):
        blanks = " " * (widths[id(column)] - cell_len(cell))
        parts.append(blanks + cell if column.number else cell + blanks)
    return (" " * gap).join(parts).rstrip()


def _paragraphs(columns: Sequence[Column], width: int) -> Iterator[str]:
    for row in range(len(columns[0].cells)):
        if row:
            yield ""
        yield from pairs([(column.label, column.cells[row], not column.text) for column in columns], width)


def pairs(rows: Sequence[tuple[str, str, bool]], width: int) -> Iterator[str]:
    """Labels and values, one line each. Prose wraps below itself; a ``whole`` value never wraps."""
    margin = max((cell_len(label) for label, _, _ in rows), default=0) + _GAP
    for label, value, whole in rows:
        lines = [value] if whole else wrapped(value, max(width - margin, 20))
        for number, line in enumerate(lines):
            head = label if not number else ""
            yield (head + " " * (margin - cell_len(head)) + line).rstrip()
