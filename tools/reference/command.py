"""Every command of ``kith`` with its arguments and options, made from the typer app."""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from services.cli.__main__ import app
from tools.reference.markdown import code, sentence, table

_METAVARS = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH", datetime: "TIME"}


def command_part() -> str:
    """A heading and a table of parameters for each command."""
    lines: list[str] = []
    for name, command in commands():
        lines += [f"## {code(name)}", "", _help(command), ""]
        rows = [(_spelling(p), _default(p), sentence(p.help or "")) for p in command.params if p.name != "help"]
        lines += table(["Argument or option", "Default", "Meaning"], rows)
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, Any]]:
    """Each command, as in ``kith topics create``; of groups those with options of their own."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", {})
        if not children or any(parameter.name != "help" for parameter in command.params):
            yield name, command
        for word, child in children.items():
            yield from walk(child, f"{name} {word}")

    return walk(typer.main.get_command(app), "kith")


def _help(command: Any) -> str:
    text = re.sub(r"[ \t]+", " ", command.help or "").replace("\f", "")
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return code(parameter.name.upper() + ("…" if parameter.nargs == -1 else ""))
    metavar = "" if parameter.is_flag else f" {_metavar(parameter)}"
    return ", ".join(code(option + metavar) for option in (*parameter.opts, *parameter.secondary_opts))


def _metavar(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    return str(parameter.metavar or _METAVARS.get(annotation, "VALUE"))


def _default(parameter: Any) -> str:
    default = parameter.default() if callable(parameter.default) else parameter.default
    if parameter.required:
        return "required"
    if default is None or default is False or default in ("", (), []):
        return "–"
    return code(default)
