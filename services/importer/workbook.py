"""Reads rows from Excel files (.xlsx, .xlsm), one at a time."""

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

import openpyxl
from openpyxl.styles.numbers import is_date_format

from services.importer.row import NotAWorkbook
from services.importer.sheet_marks import MOST_ROWS, Marks, calculates, marks_of
from services.importer.values import ERRORS, Unreadable

#: Excel stores this many digits of a number.
_DIGITS = 15
_PADDED = re.compile(r"0{2,}")
#: How workbooks write control characters, as the line breaks of Windows. Other numbers may be part of an id:
#: openpyxl gives a text that Excel wrote as _x005F_x1234_ as _x1234_.
_ESCAPED = re.compile("_x(00[01][0-9A-Fa-f])_")
_OLE = b"\xd0\xcf\x11\xe0"


@contextmanager
def open_sheet(
    file: IO[bytes], path: Path, sheet: str | None
) -> Iterator[tuple[Iterator[tuple[int, list[Any]]], Marks]]:
    """Number and cells of the non-empty rows, hidden ones included, and what the sheet says about them. Raises
    NotAWorkbook.

    Numbers are ints or Decimals of at most 15 digits (Excel stores no more), times have no offset, days no time of
    day, and a cell without a value is an Unreadable.
    """
    with closing(_load(file)) as book, ExitStack() as stack:
        with _damage():
            formulas = stack.enter_context(closing(_load(file, results=False))) if calculates(path) else None
            name = _choose(book, sheet)
            part = str(getattr(book[name], "_worksheet_path")).lstrip("/")  # noqa: B009 - openpyxl has no other way
            marks = marks_of(path, part)
        yield _rows(book[name], formulas[name] if formulas else None), marks


def sheets(path: Path, most: int) -> list[tuple[str, list[tuple[int, int]]]]:
    """The visible, non-empty sheets, and of their first rows the numbers and how many cells are filled. Raises
    NotAWorkbook."""
    with path.open("rb") as file, closing(_load(file)) as book, _damage():
        return [
            (
                name,
                [
                    (number, sum(cell is not None for cell in row))
                    for number, row in islice(_rows(book[name], None), most)
                ],
            )
            for name in _filled(book)
        ]


@contextmanager
def _damage() -> Iterator[None]:
    """Nothing but reading a workbook happens within: libraries raise whatever they stumble over."""
    try:
        yield
    except (NotAWorkbook, MemoryError):
        raise
    except Exception as error:
        raise NotAWorkbook(f"is damaged ({type(error).__name__})") from error


def _load(file: IO[bytes], results: bool = True) -> Any:
    head = file.read(4)
    file.seek(0)
    if head == _OLE:
        raise NotAWorkbook("is protected by a password, or in the format of Excel before 2007: save it as .xlsx")
    if head[:2] != b"PK":
        raise NotAWorkbook('is not a workbook, whatever its name says: set format = "csv" if it is text')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns about parts that it skips: charts, validations
            return openpyxl.load_workbook(file, read_only=True, data_only=results, keep_links=False)
    except MemoryError:
        raise
    except Exception as error:  # whatever it stumbles over
        raise NotAWorkbook(f"is not a workbook that can be read ({type(error).__name__})") from error


def _filled(book: Any) -> list[str]:
    visible = [each for each in book.worksheets if each.sheet_state == "visible"]
    filled: list[str] = [each.title for each in visible if any(True for _ in _rows(each, None))]
    if not filled:
        if not book.worksheets:
            raise NotAWorkbook(
                "has no sheet that can be read: if it is a Strict Open XML Spreadsheet, save it as Excel Workbook"
            )
        hidden = ", ".join(each.title for each in book.worksheets if each not in visible)
        raise NotAWorkbook("has no sheet with content" + (f" that is not hidden ({hidden})" if hidden else ""))
    return filled


def _choose(book: Any, sheet: str | None) -> str:
    names: list[str] = [each.title for each in book.worksheets]
    if sheet is not None:
        if sheet not in names:
            raise NotAWorkbook(f'has no sheet "{sheet}", but {", ".join(names)}')
        return sheet
    filled = _filled(book)
    if len(filled) > 1:
        raise NotAWorkbook(f"has several sheets ({', '.join(filled)}): name one by sheet")
    return filled[0]


def _rows(sheet: Any, formulas: Any | None) -> Iterator[tuple[int, list[Any]]]:
    rows, number = _cells(sheet, formulas), 0
    while True:
        try:
            with _damage():
                row = next(rows, None)
        except NotAWorkbook as error:
            raise NotAWorkbook(f"{error}, after row {number}") from error
        if row is None:
            return
        number = row[0]
        yield row


def _cells(sheet: Any, formulas: Any | None) -> Iterator[tuple[int, list[Any]]]:
    # Some programs write a wrong extent, and rows outside of it would be skipped.
    sheet.reset_dimensions()
    if formulas is not None:
        formulas.reset_dimensions()
    twins = iter(formulas.iter_rows()) if formulas is not None else None
    for number, row in enumerate(sheet.iter_rows(), 1):
        if number > MOST_ROWS:
            raise ValueError("more rows than a sheet has")
        cells = [_value(cell) for cell in row]
        # The result of a formula may be no text: then the cell says that it holds text.
        empty = [cell.data_type == "str" for cell in row] if twins is not None else []
        if twins is not None:
            for n, twin in enumerate(next(twins, ())):
                if n < len(cells) and cells[n] is None and twin.value is not None and not empty[n]:
                    cells[n] = Unreadable(
                        "", "holds a formula without its result: open the file in Excel and save it"
                    )
        while cells and cells[-1] is None:
            cells.pop()
        if cells:
            yield number, cells


def _value(cell: Any) -> Any:
    try:
        value = cell.value
    except (ValueError, OverflowError):
        return Unreadable("", "holds a date that Excel cannot have")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if cell.data_type == "e" or value in ERRORS:
            return Unreadable(value, f"holds {value}, the error of a formula")
        if "_x00" in value:
            value = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
        return value if value.strip() else None
    if isinstance(value, datetime):
        return value if value.time() != clock() or _shows_clock(cell.number_format) else value.date()
    if isinstance(value, clock | timedelta):
        return Unreadable(str(value), "holds a time of day without a day")
    return _number(value, cell.number_format or "")


def _number(value: Any, form: str) -> Any:
    if is_date_format(form):
        return Unreadable(str(value), "holds a date that Excel cannot have")
    number = Decimal(f"{value:.{_DIGITS}g}")
    if number != number.to_integral_value():
        return number
    whole = int(number)
    if abs(whole) >= 10**_DIGITS:
        return Unreadable(
            str(value), "is a number of more than 15 digits, of which Excel keeps 15: make it text there"
        )
    # A number that is shown with leading zeros is 00123 to its readers, and in the CSV that Excel exports.
    return f"{whole:0{len(form)}d}" if _PADDED.fullmatch(form) and whole >= 0 else whole


def _shows_clock(form: str | None) -> bool:
    return bool(re.search(r"[hHsS]", re.sub(r'"[^"]*"|\[[^\]]*\]', "", form or "")))
