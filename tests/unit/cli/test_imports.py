"""The command imports what it runs, and nothing else: `kith --help` answers at once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from services.cli.__main__ import app
from services.cli.commands import PLACES
from tests.support.end_to_end import call_kith

#: What a command line is made of and printed with. Typer checks the values of options by pydantic.
#: Typer's rich looks for attr, which other packages bring.
TYPER = {"annotated_doc", "attr", "shellingham", "typer"}
PYDANTIC = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
RICH = {"markdown_it", "mdurl", "pygments", "rich"}

SCRIPT = """
import json, sys

def loaded():
    installed = [n for n, m in sys.modules.items() if "site-packages" in (getattr(m, "__file__", None) or "")]
    return sorted({name.partition(".")[0] for name in installed if not name.startswith("_")})

def run(*arguments):
    sys.argv = ["kith", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
    return loaded()

from services.cli.__main__ import main
sys.stdout = sys.stderr
found = {" ".join(arguments): run(*arguments) for arguments in json.loads(sys.argv[1])}
print(json.dumps(found), file=sys.__stdout__)
"""


def imported(*commands: tuple[str, ...]) -> dict[str, set[str]]:
    """What one process after another command line has imported, without the standard library and the project."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {line: set(modules) for line, modules in json.loads(done.stdout).items()}


def paths(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield (*path, "--help")
    for name, child in getattr(command, "commands", {}).items():
        yield from paths(child, (*path, name))


def test_the_list_of_commands_needs_no_library_but_that_of_the_command_line() -> None:
    found = imported(("--version",), ("--help",))
    assert found["--version"] | found["--help"] <= TYPER


def test_the_help_of_no_command_imports_a_client() -> None:
    """All in one process: the line that it fails for is the first that has imported too much."""
    group: Any = typer.main.get_command(app)
    lines = [path for name in PLACES for path in paths(group.commands[name], (name,))]
    found = imported(*lines)
    assert len(found) == len(lines) > len(PLACES)
    for line, modules in found.items():
        assert modules <= TYPER | PYDANTIC | RICH, line


def test_the_list_says_what_the_commands_say() -> None:
    group: Any = typer.main.get_command(app)
    said = {name: (group.commands[name].help or "").partition("\n\n")[0] for name in PLACES}
    assert {name: place.help for name, place in PLACES.items()} == {
        name: " ".join(text.split()) for name, text in said.items()
    }


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        app(["statis"])
    assert end.value.code == 2
    assert "'status'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kith dea", {"dead-letters"}),
        ("kith dead-letters re", {"replay"}),
        ("kith up --port", {"--port-base"}),
        ("kith keys api create --scope consumers:", {"consumers:read"}),
        ("kith export relations prov", {"providers"}),
        ("kith export relations --format p", {"parquet"}),
        ("kith up --workers ana", {"analytics="}),
    ],
)
def test_a_shell_completes_commands_and_options(line: str, offered: set[str]) -> None:
    _, output, errors = call_kith(**completing(line))
    assert set(output.split()) == offered, errors


def completing(line: str) -> dict[str, str]:
    return {"_KITH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}


def test_the_process_that_a_shell_starts_completes() -> None:
    command = [Path(sys.executable).with_name("kith")]
    done = subprocess.run(
        command, env=completing("kith export measures/rfm"), capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == {"measures/rfm", "measures/rfm-consumers"}, done.stderr
