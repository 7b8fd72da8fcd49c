"""What others chose (ids, names, columns of files, client ids in logs) cannot control a terminal."""

import io
import sys
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from services.cli import __main__ as command
from services.cli import log_view
from services.cli.report_values import shown
from services.cli.tables import Column, Row, fitted
from services.importer.command import _as_text
from services.rebuild.diff import Comparison
from services.rebuild.view import show_difference
from shared.contracts.errors import ConfigurationError
from shared.observability.terminal import printable, printable_lines

#: Clears the screen, sets the title, moves the cursor (also by one C1 character), and reverses the text after it.
HOSTILE = "ada\x1b[2J\x1b]0;owned\x07\x9b5A\r\u202e\u2028x"
CONTROLS = ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2028")


def harmless(text: str) -> bool:
    return not any(control in text for control in CONTROLS)


@given(st.text())
def test_nothing_that_is_printable_controls_anything(text: str) -> None:
    # Blanks and joiners are no printing characters, and belong to names.
    kinds = {unicodedata.category(c) for c in printable(text) if c not in "\u200c\u200d"}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
    assert printable_lines(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "name", ["田中\u3000太郎", "1\u00a0000", "می\u200cخواهم", "\U0001f469\u200d\U0001f52c", "ada"]
)
def test_names_stay_as_they_are(name: str) -> None:
    assert printable(name) == shown(name) == name


def test_tables_and_values() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(fitted("", [Column("Id")], [Row([HOSTILE])], console))
    assert harmless(cast(io.StringIO, console.file).getvalue())
    assert harmless(shown(HOSTILE))


def test_a_comparison_of_versions() -> None:
    console = Console(file=io.StringIO(), width=200)
    example = SimpleNamespace(id=HOSTILE, why=HOSTILE, fields={HOSTILE: (HOSTILE, {"x": HOSTILE})})
    comparison = cast(
        Comparison,
        SimpleNamespace(
            compared=1,
            only_live=0,
            only_other=0,
            different=1,
            same=False,
            reasons=Counter([HOSTILE]),
            examples=[example],
        ),
    )
    found: Any = SimpleNamespace(live=1, other=2, collections={"relations": comparison})
    show_difference(found, console)
    assert harmless(cast(io.StringIO, console.file).getvalue())


def test_the_notes_of_an_import() -> None:
    moment = SimpleNamespace(time=datetime(2026, 1, 1, tzinfo=UTC), origin="as_of")
    source = SimpleNamespace(
        source=HOSTILE, read=1, accepted=1, rejected=0, changed=False, moment=moment, notes=[HOSTILE]
    )
    report: Any = SimpleNamespace(sources=[source], rejected=0)
    assert harmless(printable_lines(_as_text(report, Path("x"), dry_run=True)))


def test_an_error_of_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigurationError(f"the column {HOSTILE}\nis not known")

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(SystemExit):
        command.main()
    error = capsys.readouterr().err
    assert harmless(error)
    assert error.count("\n") == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_all_letters_gets_what_it_lacks_as_numbers(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.setattr(command, "app", lambda: print("5 – 7"))
    command.main()
    sys.stdout.flush()
    assert raw.getvalue() == b"5 \\u2013 7\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_on_a_terminal_and_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, terminal: bool
) -> None:
    line = f"client {HOSTILE} é\twith a tab\n".encode()
    (tmp_path / "kafka.log").write_bytes(line)

    class Out(io.StringIO):
        buffer = io.BytesIO()

        def isatty(self) -> bool:
            return terminal

    out = Out()
    out.buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", out)
    log_view.last_lines(tmp_path / "kafka.log", 5)
    written = out.buffer.getvalue()
    assert (harmless(written.decode()), written == line) == (terminal, not terminal)
    assert "é" in written.decode()
