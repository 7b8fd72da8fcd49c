"""The path of a fault, as it may be shown. Pure.

A name that no schema declares may be anything, including personal data, and what is shown is kept: in answers,
logs and dead letters. So only declared names and indexes are shown.
"""

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from shared.contracts.events import EVENT_MODELS

#: From the root: names of members, and indexes of lists.
Path = Sequence[str | int]

HIDDEN = "[key]"
#: Members whose own members are named by the sender. The names are stored as those of fields, so they are not
#: secret, and where one is at fault among fifty, it has to be known which.
_MAPS = frozenset({"traits", "personal", "consent"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_LONGEST = 64


def _names(model: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            found |= {name} | _names(field.annotation)
    for part in get_args(model):
        found |= _names(part)
    return found


#: The names that the schemas of events declare, the other attributes of CloudEvents, and the states of a change.
EVENT_NAMES = frozenset(name for model in EVENT_MODELS for name in _names(model)) | {
    *("data_base64", "datacontenttype", "dataschema", "before", "after")
}


def safe_path(path: Path, declared: Collection[str] = EVENT_NAMES) -> str | None:
    """``path`` in text, with ``[key]`` in place of every name that is not ``declared``; None for the root."""
    shown: list[str] = []
    for part in path:
        if isinstance(part, int):
            shown.append(str(part))
        elif part in declared or (shown[-1:] and shown[-1] in _MAPS and _NAME.fullmatch(part)):
            shown.append(part)
        else:
            shown.append(HIDDEN)
    return ".".join(shown) or None


def meant(name: str, declared: Collection[str] = EVENT_NAMES) -> str:
    """``; did you mean NAME?`` with the declared name that resembles ``name``; empty without one."""
    near = difflib.get_close_matches(name, declared, 1) if len(name) <= _LONGEST else []
    return f"; did you mean {near[0]}?" if near else ""
