"""Explains the faults of a mapping file, with their places in it. Pure."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.contracts.wording import in_words

_MOST = 5


def explain(path: Path, document: Any, error: ValidationError, models: Iterable[type[BaseModel]]) -> str:
    """``file: table, key: fault`` for the first few errors, a line each."""
    keys = sorted({name for model in models for name in model.model_fields})
    errors = error.errors(include_url=False, include_context=False)
    lines = [f"{path}: {_place(document, one['loc'])}{_message(one, keys)}" for one in errors[:_MOST]]
    if len(errors) > _MOST:
        lines.append(f"and {len(errors) - _MOST} more")
    return "\n".join(dict.fromkeys(lines))


def _place(document: Any, location: tuple[int | str, ...]) -> str:
    parts = [part for part in location if part != "[key]"]
    where = ""
    if len(parts) >= 2 and parts[0] == "source" and isinstance(parts[1], int):
        table = document["source"][parts[1]]
        label = table.get("name", table.get("path")) if isinstance(table, dict) else None
        where = f"[[source]] {parts[1] + 1}" + (f" ({label})" if label else "") + ": "
        parts = parts[2:]
    key = ".".join(str(part) for part in parts)
    return f"{where}{key}: " if key else where


def _message(error: Any, keys: list[str]) -> str:
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), keys, 1)
        return "is not a key of this table" + (f"; did you mean {near[0]}?" if near else "")
    return in_words(error).replace("Input should", "should")
