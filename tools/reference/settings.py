"""Every setting, for the page *Settings*."""

import json
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from services.cli.settings import ELSEWHERE
from shared.settings import Settings
from tools.reference.markdown import code, sentence, table


def settings_part() -> str:
    """A table of the variables: values, default, meaning."""
    rows = [
        (
            code(f"KITH_{name.upper()}"),
            _values(field.annotation),
            _default(field.get_default()),
            sentence(field.description or ""),
        )
        for name, field in Settings.model_fields.items()
    ]
    rows += [(code(name), "text", "–", sentence(meaning)) for name, meaning in ELSEWHERE.items()]
    return "\n".join(table(["Variable", "Values", "Default", "Meaning"], rows))


def _values(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(code(value) for value in get_args(annotation))
    members = [member for member in get_args(annotation) if member is not type(None)]
    if members and get_origin(annotation) not in (list, dict, tuple, set, frozenset):
        return ", ".join(dict.fromkeys(map(_values, members)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(code(member.value) for member in annotation)
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true`, `false`",
        SecretStr: "text (secret)",
    }
    return names.get(annotation, "JSON")


def _default(value: object) -> str:
    if value is None or value == "":
        return "–"
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return code(shown)
