"""The system query options of a request, checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.json_util import JSONMode, JSONOptions, dumps, loads
from bson.timestamp import Timestamp
from pydantic import TypeAdapter, ValidationError

from services.exports.columns import Column, Dataset
from services.exports.odata.errors import ODataError, bad, unsupported
from services.exports.odata.filters import parse
from services.exports.odata.mongo import Translator
from services.exports.odata.terms import Term
from services.exports.purposes import check_purpose
from shared.access.query import unknown
from shared.contracts.events import Name
from shared.http.cursors import Cursors
from shared.http.parameters import BadParameter

#: Rows of a page, unless the client prefers fewer.
PAGE = 5_000
MAX_PAGE = 10_000
_KNOWN = frozenset(
    {"$select", "$filter", "$orderby", "$top", "$skip", "$count", "$skiptoken", "$format", "purpose"}
)
#: Options of the system that do not affect a ``$count``, as the standard says: clients leave them on it.
WITHOUT_EFFECT = frozenset({"$top", "$skip", "$orderby"})
#: What is asked for → its options. Others are refused: they would do nothing. Power Query adds ``Query = [purpose
#: = …]`` to each request, also to those for the two documents that are the same for everybody.
TAKEN: Mapping[str, frozenset[str]] = {
    "a set": _KNOWN,
    "$count": frozenset({"$filter", "purpose"}) | WITHOUT_EFFECT,
    "one entity": frozenset({"$select", "$format", "purpose"}),
    "one property": frozenset({"$format", "purpose"}),
    "$value": frozenset({"purpose"}),
    "the service document": frozenset({"$format", "purpose"}),
    "$metadata": frozenset({"$format", "purpose"}),
}
#: Options of OData 4.0 and 4.01 that this service does not support.
_ELSEWHERE = frozenset(
    {"$expand", "$search", "$apply", "$compute", "$levels", "$deltatoken", "$index", "$schemaversion", "$id"}
)
_TYPED = JSONOptions(json_mode=JSONMode.CANONICAL, tz_aware=True, tzinfo=UTC)
_PURPOSE: TypeAdapter[str] = TypeAdapter(Name)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """Where the next page begins: after the row whose values in the order are ``place``, in the state of
    ``moment``. ``left`` rows remain (None: all), and ``count`` is the count of the first page."""

    moment: Timestamp
    place: tuple[Any, ...]
    left: int | None
    count: int | None

    def text(self, cursors: Cursors) -> str:
        place = dumps(list(self.place), json_options=_TYPED)
        text = cursors.encode([self.moment.time, self.moment.inc, place, self.left, self.count])
        assert text is not None
        return text


@dataclass(frozen=True, slots=True)
class Options:
    """A query of an entity set. ``order`` ends with a unique property."""

    columns: Sequence[Column]
    selected: bool
    filter: Term | None
    order: tuple[tuple[str, int], ...]
    ordered: bool
    top: int | None
    skip: int
    count: bool
    token: Token | None
    page: int
    purpose: str | None = None


def options_of(
    given: Mapping[str, str],
    dataset: Dataset,
    columns: Sequence[Column],
    translator: Translator,
    page: int | None,
    cursors: Cursors,
) -> Options:
    """``given``: the options by name; ``page``: the page size that the client prefers; ``cursors``: those of the
    feed. Raises ODataError, and Unavailable."""
    order = _order(given, dataset, translator)
    ordered = bool(order)
    known = {path for path, _ in order}
    order += [(path, 1) for path in dataset.key if path not in known]
    token = _token(given["$skiptoken"], len(order), cursors) if "$skiptoken" in given else None
    return Options(
        columns=_selected(given.get("$select"), columns, translator),
        selected=given.get("$select", "*").strip() != "*",
        filter=parse(given["$filter"]) if given.get("$filter", "").strip() else None,
        order=tuple(order),
        ordered=ordered,
        top=_number(given, "$top"),
        skip=_number(given, "$skip") or 0,
        count=_flag(given.get("$count", "false")),
        token=token,
        page=min(page or PAGE, MAX_PAGE),
        purpose=purpose_of(given, dataset),
    )


def check_options(given: Mapping[str, str], what: str) -> None:
    """Raises ODataError for an unsupported option (501), for an unknown one (422), and for one that does nothing
    for ``what``, of ``TAKEN`` (400)."""
    for name in given:
        if name in _ELSEWHERE:
            raise unsupported(name, f"{name} is not supported")
        if name not in _KNOWN:
            raise ODataError(422, "UnknownOption", f"{name}: {unknown(name, sorted(_KNOWN))}", name)
        if name not in TAKEN[what]:
            raise bad(name, f"is no option of {what}, which takes {', '.join(sorted(TAKEN[what]))}")


def check_without_effect(given: Mapping[str, str], dataset: Dataset, translator: Translator) -> None:
    """Raises ODataError for an option of ``WITHOUT_EFFECT`` that would be refused where it has one."""
    _order(given, dataset, translator)
    for name in ("$top", "$skip"):
        _number(given, name)


def purpose_of(given: Mapping[str, str], dataset: Dataset) -> str | None:
    """The purpose by which rows are filtered. Raises ODataError."""
    if (purpose := given.get("purpose")) is None:
        return None
    try:
        check_purpose(dataset.name)
        return _PURPOSE.validate_python(purpose)
    except BadParameter as error:
        raise bad("purpose", f"{dataset.entity_set}: {error.detail}") from None
    except ValidationError:
        raise bad("purpose", "is not a purpose's name") from None


def _selected(text: str | None, columns: Sequence[Column], translator: Translator) -> Sequence[Column]:
    names = [name.strip() for name in (text or "*").split(",") if name.strip()]
    if "*" in names:
        return columns
    return [translator.column(name, "$select") for name in dict.fromkeys(names)]


def _order(given: Mapping[str, str], dataset: Dataset, translator: Translator) -> list[tuple[str, int]]:
    order: list[tuple[str, int]] = []
    for item in filter(None, (part.strip() for part in given.get("$orderby", "").split(","))):
        name, _, direction = item.partition(" ")
        if not _NAME.fullmatch(name) or direction.strip() not in ("", "asc", "desc"):
            raise unsupported("$orderby", f"only properties, with asc or desc, are supported, not {item}")
        column = translator.column(name, "$orderby")
        # Sums are already ordered by their id.
        paths = dataset.key if column.name == "id" else (translator.path(column, "$orderby"),)
        order += [(path, -1 if direction.strip() == "desc" else 1) for path in paths]
    return order


def _number(given: Mapping[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not re.fullmatch(r"\d{1,18}", given[name], re.ASCII):
        raise bad(name, "must be a whole number of at least 0")
    return int(given[name])


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise bad("$count", "must be true or false")
    return text == "true"


def _token(text: str, length: int, cursors: Cursors) -> Token:
    try:
        found = cursors.decode(text)
    except BadParameter as error:
        raise bad(error.name, error.detail) from None
    try:
        match found:
            case [int(seconds), int(number), str(place), int() | None as left, int() | None as count]:
                values = loads(place, json_options=_TYPED)
                moment = Timestamp(seconds, number)
                # The token goes into a query, so only plain values are accepted.
                plain = all(value is None or isinstance(value, str | int | float | datetime) for value in values)
                numbers = all(each is None or each >= 0 for each in (left, count))
                if isinstance(values, list) and len(values) == length and plain and numbers:
                    return Token(moment, tuple(values), left, count)
    except (ValueError, TypeError, OverflowError, KeyError):
        pass
    raise bad("$skiptoken", "is not a token from an answer to this query")
