"""Fields that stay hidden: they are not left out silently, but shown as a mask and listed. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from shared.access.lineage import DerivedFrom, reveals
from shared.access.shapes import Nested, Shape, shape_of
from shared.http.caller import PERSONAL_READ, Caller

Json = dict[str, Any]

MASK = "•••"
_PART = r"[A-Za-z0-9_-]{1,60}"
_PATH = re.compile(rf"{_PART}(\.({_PART}|\*)){{0,9}}", re.ASCII)


def is_path(text: str) -> bool:
    """Whether ``text`` has the form of a field's path: ``personal.email``, or ``personal.*`` for all fields in
    it."""
    return _PATH.fullmatch(text) is not None


def presented(document: Json, personal: Iterable[str], caller: Caller) -> tuple[Json, list[str]]:
    """``document`` as ``caller`` may see it, and which of the ``personal`` fields it shows.

    ``document`` is a record, or a page with records as its ``items``. ``personal`` are paths within a record. The
    arguments are not changed.
    """
    if caller.may(PERSONAL_READ):
        found: set[str] = set()
        _in_records(document, personal, lambda value: value, found)
        return document, sorted(found)
    return _named(document, lambda rest, found: _in_records(rest, personal, lambda _: MASK, found)), []


def with_masks(answer: Json, paths: Iterable[str]) -> Json:
    """``answer`` with the fields of ``paths`` masked, and listed in its member ``masked``.

    A path applies to every object in the answer, at any depth: ``amount`` is every member of that name.
    """
    wanted = [path.split(".") for path in paths]
    return _named(answer, lambda rest, found: _anywhere(rest, wanted, found))


def masked(
    answer: Json, model: type[BaseModel], paths: Iterable[str], parameters: Mapping[str, Any] | None = None
) -> Json:
    """``answer``, in the form of ``model``, with the fields of ``paths`` and everything derived from them masked
    (``shared.access.lineage``). ``parameters`` are those of the request, with their defaults. A field that is null
    stays null; a value derived from it is masked even then."""
    wanted = tuple(paths)

    def hide(rest: Json, found: set[str]) -> Json:
        shown: Json = _by_shape(rest, shape_of(model), wanted, parameters or {}, found)
        return shown

    return with_masks(_named(answer, hide), wanted)


def hidden_order(
    model: type[BaseModel], paths: Iterable[str], parameters: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The member of an answer whose order or choice of items reveals a masked field, and that field; None without
    one."""
    return next(_orders(shape_of(model), tuple(paths), parameters), None)


def hides(paths: Iterable[str], field: str) -> bool:
    """Whether ``with_masks`` would mask ``field`` (``personal.email``) or an object that contains it."""
    answer: Any = True
    for name in reversed(field.split(".")):
        answer = {name: answer}
    return "masked" in with_masks(answer, paths)


def _orders(
    shape: Shape | Nested, paths: tuple[str, ...], parameters: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if isinstance(shape, Nested):
        yield from _orders(shape.shape, paths, parameters)
        return
    for name, part in shape.fields.items():
        for order in part.orders:
            if (field := reveals(paths, order.of(parameters))) is not None:
                yield name, field
        # What is masked as a whole has no order that shows.
        if part.inner is not None and not any(reveals(paths, each.of(parameters)) for each in part.lineages):
            yield from _orders(part.inner, paths, parameters)


def _named(answer: Json, hide: Callable[[Json, set[str]], Json]) -> Json:
    found: set[str] = set(answer.get("masked") or ())
    shown = hide({name: value for name, value in answer.items() if name != "masked"}, found)
    return {**shown, "masked": sorted(found)} if found else shown


def _by_shape(
    value: Any, shape: Shape | Nested, paths: tuple[str, ...], parameters: Mapping[str, Any], found: set[str]
) -> Any:
    if isinstance(value, list):
        return [_by_shape(item, shape, paths, parameters, found) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(shape, Nested):
        return {name: _by_shape(item, shape.shape, paths, parameters, found) for name, item in value.items()}
    changed = dict(value)
    for name, part in shape.fields.items():
        if name not in value:
            continue
        old = value[name]
        if any(_hidden(name, old, lineage, paths, parameters) for lineage in part.lineages):
            found.add(name)
            changed[name] = MASK
        elif old is not None and part.inner is not None:
            changed[name] = _by_shape(old, part.inner, paths, parameters, found)
    return changed


def _hidden(
    name: str, value: Any, lineage: DerivedFrom, paths: tuple[str, ...], parameters: Mapping[str, Any]
) -> bool:
    field = reveals(paths, lineage.of(parameters))
    if field is None or value is not None:
        return field is not None
    # A null that is the field itself hides nothing. A derived one may reveal something: no mean, so no orders.
    return lineage.null_reveals and field.rpartition(".")[2] != name


def _in_records(document: Json, paths: Iterable[str], change: Callable[[Any], Any], found: set[str]) -> Json:
    items = document.get("items")
    for path in paths:
        if isinstance(items, list):
            items = [_at(item, path.split("."), (), change, found) for item in items]
        else:
            document = _at(document, path.split("."), (), change, found)
    return {**document, "items": items} if isinstance(items, list) else document


def _anywhere(value: Any, paths: list[list[str]], found: set[str]) -> Any:
    if isinstance(value, list):
        return [_anywhere(item, paths, found) for item in value]
    if not isinstance(value, dict):
        return value
    for parts in paths:
        value = _at(value, parts, (), lambda _: MASK, found)
    return {name: _anywhere(item, paths, found) for name, item in value.items()}


def _at(
    value: Any, parts: list[str], place: tuple[str, ...], change: Callable[[Any], Any], found: set[str]
) -> Any:
    """``value`` with ``change`` applied at this path, whose name is added to ``found``. Null is kept. A value that
    has no parts, where a part is to be changed, is changed as a whole: the amount of a fact is a number, that of a
    sum has one for each currency, and ``amount.EUR`` hides both."""
    if isinstance(value, list):
        return [_at(item, parts, place, change, found) for item in value]
    if not isinstance(value, dict):
        if not place or value is None:
            return value
        found.add(".".join(place))
        return change(value)
    first, *rest = parts
    changed = dict(value)
    for name in value if first == "*" else (first,):
        if (old := value.get(name)) is None:
            continue
        here = (*place, name)
        if rest:
            changed[name] = _at(old, rest, here, change, found)
        else:
            found.add(".".join(here))
            changed[name] = change(old)
    return changed
