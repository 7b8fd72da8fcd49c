"""The mapping file of an import: it maps columns of files to fields of events.

``tests/data/restaurants.toml`` is an example of the format. ``load`` reports every fault that can be found without
reading the data, with file, table and key.
"""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from services.importer.explain import explain
from services.importer.fields import FieldSpec, Scalar, Target, Zone, shorthand
from services.importer.files import File, Table
from services.importer.targets import CONTAINERS, check_targets, needed_of, target_of
from shared.contracts.errors import ConfigurationError
from shared.contracts.events import EVENT_TYPES, Id, Tenant

#: What a deleted row may do, besides nothing.
_DELETED = {
    "relation.recorded": ("undo",),
    "provider.upserted": ("undo",),
    "consumer.upserted": ("anonymise", "delete"),
}
_FILE_OPTIONS = ("delimiter", "quote", "encoding", "missing")


class MappingError(ConfigurationError):
    """The mapping file has a fault, or does not fit the data files."""


class Collect(File):
    """Gathers the distinct values of the column ``value`` of another file into a list for each ``key``.

    ``on`` is the source's column with the key (default: the name in ``key``). With ``limit`` only the first values
    of a key are kept, up to that number. The lists are kept in memory.
    """

    key: str
    value: str
    on: str = ""
    limit: Annotated[int, Field(ge=1)] | None = None

    def needed(self) -> frozenset[str]:
        return frozenset({self.key, self.value})

    @property
    def joined_on(self) -> str:
        return self.on or self.key


class Defaults(Table):
    """Keys for every source that does not set them itself. The sources validate them."""

    tenant: Any = None
    source: Any = None
    as_of: Any = None
    time: Any = None
    timezone: Any = None
    delimiter: Any = None
    quote: Any = None
    encoding: Any = None
    missing: Any = None


Spec = Annotated[FieldSpec, BeforeValidator(shorthand)]


class Source(File):
    """A file whose every row becomes one event of the type ``type``.

    ``fields`` maps paths within the event's data to their sources. ``source`` is the CloudEvents source (default:
    ``<mapping>/<name>``). The default of ``id`` is a hash of the event's content and of ``name``, whose default is
    the file's name up to its first dot.

    ``time`` is the time of the row's fact, and becomes ``occurred_at`` of a relation. ``changed`` is the time of
    the row's last change: the version of the event. Its default is the moment as of which the file states its
    rows: ``as_of``, or the file's modification time.

    ``deleted`` is what a deleted row of a captured table does: ``undo`` retracts the relation or closes the
    provider (the default of both), ``ignore`` does nothing (the default of all others), ``anonymise`` and
    ``delete`` erase the consumer.
    """

    name: Id
    type: str
    source: Id
    tenant: Tenant = "default"
    timezone: Zone | None = None
    as_of: datetime | None = None
    time: Spec | None = None
    changed: Spec | None = None
    id: Spec | None = None
    fields: Annotated[dict[str, Spec], Field(min_length=1)]
    collect: dict[str, Collect] = Field(default_factory=dict)
    deleted: Literal["ignore", "undo", "anonymise", "delete"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        context = info.context or {}
        merged = {**context.get("defaults", {}), **value}
        if merged.get("format") == "debezium":
            if not isinstance(table := merged.get("table"), str) or not table:
                raise ValueError('format = "debezium" needs table, like "public.orders"')
            merged.setdefault("path", table)
            merged.setdefault("name", table.rpartition(".")[2])
        if isinstance(merged.get("path"), str):
            merged.setdefault("name", Path(merged["path"]).name.split(".")[0])
        merged.setdefault("source", f"{context.get('mapping', 'import')}/{merged.get('name')}")
        options = {key: merged[key] for key in _FILE_OPTIONS if key in merged}
        if isinstance(merged.get("collect"), dict):
            merged["collect"] = {
                name: {**options, **table} if isinstance(table, dict) else table
                for name, table in merged["collect"].items()
            }
        return merged

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        if value not in EVENT_TYPES:
            raise ValueError(f"is not one of {', '.join(EVENT_TYPES)}")
        return value

    @field_validator("as_of")
    @classmethod
    def _with_offset(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("needs an offset, like 2026-03-02T10:00:00Z")
        try:
            return None if value is None else value.astimezone(UTC)
        except OverflowError:
            raise ValueError("is a time outside of the years 1 to 9999") from None

    @field_validator("fields", mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        """``location.city = …`` is a nested table in TOML, and a path here."""
        if not isinstance(value, dict):
            return value
        flat: dict[str, Any] = {}
        for key, spec in value.items():
            whole = key not in CONTAINERS or not isinstance(spec, dict)
            parts = {key: spec} if whole else {f"{key}.{name}": child for name, child in spec.items()}
            if twice := flat.keys() & parts.keys():
                raise ValueError(f"{min(twice)} appears twice")
            flat |= parts
        return flat

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_targets(self.type, self.fields)
        if self.deleted not in (None, "ignore", *_DELETED.get(self.type, ())):
            allowed = ", ".join(["ignore", *_DELETED.get(self.type, ())])
            raise ValueError(f"deleted: of {self.type} it is one of: {allowed}")
        if self.type == "relation.recorded" and self.time is None and "occurred_at" not in self.fields:
            raise ValueError("time: is required: the time of the relation (a constant is allowed)")
        if self.time is not None and self.time.const is None and "occurred_at" in self.fields:
            raise ValueError(
                "time: fields.occurred_at already contains the time of the relation; for the time of the "
                "row's last change, set changed"
            )
        for key, spec, target in self.readings():
            if isinstance(spec.scale, str) and (key != "fields.amount" or "currency" not in self.fields):
                raise ValueError(f'{key}: scale = "{spec.scale}" is for fields.amount beside fields.currency')
            if spec.collect is not None and spec.collect not in self.collect:
                raise ValueError(f"{key}: there is no [source.collect.{spec.collect}]")
            try:
                spec.check(target)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return self

    def readings(self) -> Iterator[tuple[str, FieldSpec, Target]]:
        """Every field to read: its key in the mapping, its source, and its type."""
        if self.time is not None:
            yield "time", self.time, "time"
        if self.changed is not None:
            yield "changed", self.changed, "time"
        if self.id is not None:
            yield "id", self.id, "text"
        for path, spec in self.fields.items():
            yield f"fields.{path}", spec, target_of(path)

    def columns_used(self) -> dict[str, str]:
        """The columns of the file that the mapping needs, each with the first key that names it."""
        used: dict[str, str] = {}
        for key, spec, _ in self.readings():
            for column in spec.columns_used():
                used.setdefault(column, key)
        for name, collect in self.collect.items():
            used.setdefault(collect.joined_on, f"collect.{name}")
        return used

    def needed(self) -> frozenset[str]:
        paths = {f"fields.{path}" for path in needed_of(self.type)} | {"time", "changed", "id"}
        return frozenset(
            column for key, spec, _ in self.readings() if key in paths for column in spec.columns_used()
        ) | {collect.joined_on for collect in self.collect.values()}


class Mapping(Table):
    """A mapping file: its sources in order, their defaults, and named value maps."""

    defaults: Defaults = Defaults()
    maps: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    source: Annotated[list[Source], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        names = [source.name for source in self.source]
        if twice := {name for name in names if names.count(name) > 1}:
            # The name is part of the ids that are made for rows: two sources must not share it.
            raise ValueError(f'two sources are called "{min(twice)}": give one of them another name')
        return self


def load(path: Path) -> Mapping:
    """The mapping in the TOML file at ``path``. Raises MappingError with the place and the fault."""
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise MappingError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise MappingError(f"{path}: is not TOML in UTF-8: {error}") from None


def parse(text: str, path: Path) -> Mapping:
    """The mapping that is the text of the file at ``path``. Raises MappingError as ``load`` does."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise MappingError(f"{path}: is not TOML in UTF-8: {error}") from None
    defaults = document.get("defaults", {})
    context = {
        "folder": path.parent,
        "mapping": path.stem,
        "maps": document.get("maps", {}),
        "defaults": {key: value for key, value in defaults.items() if key in Defaults.model_fields}
        if isinstance(defaults, dict)
        else {},
    }
    try:
        return Mapping.model_validate(document, context=context)
    except ValidationError as error:
        models: tuple[type[BaseModel], ...] = (Mapping, Defaults, Source, Collect, FieldSpec)
        raise MappingError(explain(path, document, error, models)) from None
