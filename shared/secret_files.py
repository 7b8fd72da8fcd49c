"""Secrets from files, as Docker and Kubernetes mount them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError


class SecretFiles(PydanticBaseSettingsSource):
    """Takes each of ``names`` from the file that ``<name>_file`` names, without the line's end.

    Raises SettingsError when a secret is stated both ways and differs, or its file cannot be read or is empty.
    """

    def __init__(self, settings: type[BaseSettings], names: Sequence[str]) -> None:
        super().__init__(settings)
        self._names = names

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Unused: ``__call__`` needs the other sources' values."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        given = self.current_state
        return {name: _read(name, given) for name in self._names if given.get(f"{name}_file")}


def _read(name: str, given: dict[str, Any]) -> str:
    prefix = f"KITH_{name.upper()}"
    path = Path(given[f"{name}_file"])
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{prefix}_FILE: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{prefix}_FILE: {path} is not text in UTF-8") from None
    if not text:
        raise SettingsError(f"{prefix}_FILE: {path} is empty")
    stated = given.get(name)
    # Equal is what a command passes on that has read the file itself.
    if stated is not None and text != (stated.get_secret_value() if isinstance(stated, SecretStr) else stated):
        raise SettingsError(f"{prefix} and {prefix}_FILE are both set, and differ; unset one of them")
    return text
