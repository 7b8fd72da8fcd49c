"""The columns and datasets of exports. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.runtime.protocols import Document

#: ``choice`` is a text of few different values; ``time`` an aware UTC datetime; ``day`` a date; ``texts`` a list
#: of texts; ``json`` a map as JSON text. Every value may be None.
Type = Literal["text", "choice", "integer", "number", "boolean", "time", "day", "texts", "json"]

#: Column name → value. A missing value is None.
Row = Mapping[str, Any]


class WriterFailed(Exception):
    """A file of a format cannot be written. The message contains the reason and the remedy."""


class Batches(Protocol):
    """Rows in batches of bounded size; only one batch of an export is in memory."""

    def __iter__(self) -> Iterator[Sequence[Row]]: ...
    def __next__(self) -> Sequence[Row]: ...
    def close(self) -> None:
        """Free the server's cursor."""


@dataclass(frozen=True, slots=True)
class Column:
    """``path`` is where the value is stored, for filters and orders; None where it is computed when it is read.
    ``stored`` makes the stored form of a value, where it is another. ``personal``: it tells about a person, and is
    left out unless it is asked for. ``tells`` names the fields that it is derived from, () for none."""

    name: str
    type: Type
    description: str
    path: str | None = None
    personal: bool = False
    stored: Callable[[Any], Any] | None = None
    #: Paths of events' and profiles' fields (shared.access.lineage); None where the name is such a field's.
    tells: tuple[str, ...] | None = None
    #: Of a time: the digits of a second that are stored.
    digits: int = 3
    #: What is shown for the facts of a pseudonym: what is stored would reveal whose they were.
    anonymised: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """What can be exported under one name.

    ``source`` is the projection whose ``collection`` it is read from, ``flat`` makes a row of a document (without
    the personal fields that are not asked for, the document need not have them). ``fields`` are what is read of a
    document beside ``personal_fields``. ``key`` names the stored fields that order it, ``id`` is the column that
    names a row within its tenant. ``partials``: rows are sums of documents that follow each other by ``key``.
    """

    name: str
    description: str
    entity: str
    source: str
    collection: str
    columns: tuple[Column, ...]
    flat: Callable[[Document], Document]
    fields: tuple[str, ...]
    personal_fields: tuple[str, ...] = ()
    always: Mapping[str, Any] | None = None
    key: tuple[str, ...] = ("_id",)
    partials: bool = False
    period: str | None = None
    day: str | None = None
    filters: tuple[str, ...] = ()

    @property
    def entity_set(self) -> str:
        """The dataset's name in the OData feed."""
        return self.name.title().replace("-", "")

    def visible(self, personal: bool) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if personal or not column.personal)

    def projection(self, personal: bool) -> dict[str, int]:
        """The MongoDB projection of the fields that are read."""
        wanted = {*self.fields, *(self.personal_fields if personal else ())}
        return {**dict.fromkeys(sorted(wanted), 1), **({} if "_id" in wanted else {"_id": 0})}
