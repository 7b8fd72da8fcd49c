"""``kith settings``: every setting, its meaning and its present value."""

import json
from typing import Any

from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from shared.local.contexts import without_password
from shared.settings import Settings

#: Variables that the command and its servers read before the settings.
ELSEWHERE = {
    "KITH_CONTEXT": "The stack that commands use, by name or file, if several run.",
    "KITH_CACHE_FOLDER": "Where downloaded server files are kept (default: the user's cache folder).",
    "KITH_MAVEN_URL": "A mirror of Maven Central for Kafka's jars, which are checked all the same.",
    "KITH_MONGOD": "The mongod that `kith up` starts, instead of the one from the packages.",
}


def rows(settings: Settings) -> list[tuple[str, str, str]]:
    """(environment variable, value now, meaning) of each setting. Secrets are masked."""
    found = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        shown = _shown(value)
        if name in settings.model_fields_set:
            shown += "  (set)"
        found.append((f"KITH_{name.upper()}", shown, field.description or ""))
    return found


def settings_table(settings: Settings) -> Table:
    """The settings for a terminal."""
    table = Table("Variable", "Value now", "Meaning", title="Settings")
    table.columns[0].no_wrap = True
    table.columns[1].overflow = "fold"
    for row in rows(settings):
        table.add_row(*map(Text, row))
    for name, meaning in ELSEWHERE.items():
        table.add_row(name, "–", meaning)
    return table


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, SecretStr):
        return "••••"
    return without_password(value) if isinstance(value, str) else json.dumps(value)
