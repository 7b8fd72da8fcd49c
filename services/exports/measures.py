"""Measures as exports: what the services answer, as rows and columns.

The services' code is not imported here; they are asked over HTTP, with the credentials of whoever asks.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from services.exports.columns import Column, Row, Type
from services.exports.source import Export
from shared.contracts.errors import Unavailable
from shared.http.problems.kind import ProblemType
from shared.http.problems.lookup import of_uri
from shared.measures.rows import names_of, rows_of

#: A measure has 25 s of MongoDB's time, and may wait for others.
TIMEOUT_SECONDS = 60.0
_FILTERS = frozenset({"kind", "category", "provider_id"})
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Refused(Exception):
    """A service does not answer: ``status``, ``detail`` and ``kind`` are its own."""

    def __init__(self, status: int, detail: str, kind: ProblemType | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind


class Measures(Protocol):
    def answer(self, name: str, asked: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """A measure's answer. Raises Refused and Unavailable."""


class MeasureServices:
    """The services that have measures. With both, relations answers what asks for a kind, a category or a
    provider, which its facts tell, and analytics the rest, which is quicker."""

    def __init__(self, analytics: str, relations: str) -> None:
        """Their addresses, without a slash at the end."""
        self._analytics = analytics
        self._relations = relations
        # No proxy, whatever the environment says: they are of one installation.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answer(self, name: str, asked: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        services = [self._analytics, self._relations]
        if asked.keys() & _FILTERS:
            services.reverse()
        for at, service in enumerate(services):
            try:
                return self._ask(f"{service}/v1/measures/{name}?{urlencode(asked)}", headers)
            except Refused as refused:
                if refused.status != 404 or at == len(services) - 1:
                    raise
        raise AssertionError("there are services")

    def _ask(self, address: str, headers: Mapping[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(address, headers=dict(headers))
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read()) from None
        except OSError as error:
            raise Unavailable(f"a service with measures is unavailable: {error}") from None


def measure_export(name: str, tenant: str, answer: Mapping[str, Any], as_of: datetime) -> Export:
    """An answer (JSON values) as an export: its items, a row each, with types as far as the values tell them."""
    rows = rows_of(answer)
    columns = [_column(column, [row.get(column) for row in rows]) for column in names_of(rows)]
    for column in columns:
        if (made := _MADE.get(column.type)) is not None:
            for row in rows:
                row[column.name] = None if row.get(column.name) is None else made(row[column.name])
    return Export(f"measures/{name}", tenant, columns, as_of, _Rows([rows]))


_MADE: Mapping[Type, Callable[[Any], Any]] = {"day": date.fromisoformat, "text": str}


class _Rows:
    def __init__(self, lots: Iterable[Sequence[Row]]) -> None:
        self._lots = iter(lots)

    def __iter__(self) -> Iterator[Sequence[Row]]:
        return self

    def __next__(self) -> Sequence[Row]:
        return next(self._lots)

    def close(self) -> None:
        """Nothing is held."""


def _column(name: str, values: Sequence[Any]) -> Column:
    kinds = {type(value) for value in values if value is not None}
    type_: Type = "text"
    if kinds == {bool}:
        type_ = "boolean"
    elif kinds == {int}:
        type_ = "integer"
    elif kinds and kinds <= {int, float}:
        type_ = "number"
    elif kinds == {str} and all(value is None or _DAY.fullmatch(value) for value in values):
        type_ = "day"
    return Column(name, type_, f"{name} of the measure.")


def _refused(status: int, body: bytes) -> Refused:
    try:
        answer = json.loads(body)
        return Refused(status, str(answer["detail"]), of_uri(str(answer.get("type", ""))))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refused(status, "the service with this measure refuses")
