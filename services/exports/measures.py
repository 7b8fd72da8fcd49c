"""Measures as exports: what the services answer, as rows and columns.

The services' code is not imported here; they are called over HTTP, with the caller's credentials.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from services.exports.columns import Row
from services.exports.measure_rows import columns_of, knows, rows_of
from services.exports.source import Export
from shared.contracts.errors import Unavailable
from shared.http.problems.kind import ProblemType
from shared.http.problems.lookup import of_uri

#: Beyond the computing itself: a measure has 25 s of MongoDB's time before it, and may wait for others.
_BESIDE_SECONDS = 60.0
_FILTERS = frozenset({"kind", "category", "provider_id"})


class Refused(Exception):
    """A service rejects the request: ``status``, ``detail`` and ``kind`` are its own."""

    def __init__(self, status: int, detail: str, kind: ProblemType | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind


class Measures(Protocol):
    def answer(self, name: str, asked: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """A measure's answer. Raises Refused and Unavailable."""

    def schema(self, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON Schema of an answer that ``answer`` gave. Raises Refused and Unavailable."""


class MeasureServices:
    """The services that have measures. If both have one, relations answers queries with a kind, a category or a
    provider, which need its facts; analytics, which is faster, answers all others."""

    def __init__(self, analytics: str, relations: str, measure_seconds: float) -> None:
        """Their addresses, without a slash at the end, and how long they compute one measure at most."""
        #: So that it is their own bound that ends a measure, and says so.
        self.timeout_seconds = measure_seconds + _BESIDE_SECONDS
        self._analytics = analytics
        self._relations = relations
        self._documents: dict[str, Mapping[str, Any]] = {}
        # No proxy, even if the environment sets one: they belong to this installation.
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

    def schema(self, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """From the services' OpenAPI documents. They are read once, and again if an answer does not fit, because
        its service was upgraded."""
        for again in (False, True):
            for service in (self._analytics, self._relations):
                found = _answer_schema(self._document(service, again), name)
                if found is not None and knows(answer, columns_of(found, found["$defs"])):
                    return found
        raise Unavailable(f"no service describes the measure {name} as it answers it")

    def _document(self, service: str, again: bool) -> Mapping[str, Any]:
        if again or service not in self._documents:
            self._documents[service] = self._ask(f"{service}/openapi.json", {})
        return self._documents[service]

    def _ask(self, address: str, headers: Mapping[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(address, headers=dict(headers))
        try:
            with self._opener.open(request, timeout=self.timeout_seconds) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read()) from None
        except OSError as error:
            raise Unavailable(f"a service with measures is unavailable: {error}") from None


def measure_export(
    name: str,
    tenant: str,
    answer: Mapping[str, Any],
    as_of: datetime,
    schema: Mapping[str, Any],
    personal: bool = False,
) -> Export:
    """An answer (JSON values) as an export: one row per item. The columns follow only from ``schema``, the JSON
    Schema of the answer. Fields that the answer names as masked are left out."""
    definitions = schema.get("$defs") or {}
    columns = columns_of(schema, definitions)
    masked = {str(path) for path in answer.get("masked") or ()}
    hidden = [column.name for column in columns if column.name in masked or column.name.split(".")[0] in masked]
    shown = [column for column in columns if column.name not in hidden]
    rows = rows_of(answer, shown)
    about = {key: value for key, value in answer.items() if key not in ("items", "masked")}
    batches = _Rows([rows])
    return Export(f"measures/{name}", tenant, shown, as_of, batches, hidden=hidden, about=about, personal=personal)


class _Rows:
    def __init__(self, batches: Iterable[Sequence[Row]]) -> None:
        self._batches = iter(batches)

    def __iter__(self) -> Iterator[Sequence[Row]]:
        return self

    def __next__(self) -> Sequence[Row]:
        return next(self._batches)

    def close(self) -> None:
        """Nothing is held."""


def _answer_schema(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    route = document.get("paths", {}).get(f"/v1/measures/{name}")
    if route is None:
        return None
    found = route["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return {**found, "$defs": document["components"]["schemas"]}


def _refused(status: int, body: bytes) -> Refused:
    try:
        answer = json.loads(body)
        return Refused(status, str(answer["detail"]), of_uri(str(answer.get("type", ""))))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refused(status, "the service with this measure refuses")
