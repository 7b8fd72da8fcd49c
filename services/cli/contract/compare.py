"""Compares two JSON Schemas: whether everything that one describes is what the other expects. Pure.

It decides the keywords that Kith's documents use, and says so where it cannot decide one. With ``lenient``, what
may be null or missing is no difference: an example shows what a reader reads, not what it does without.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from services.cli.contract.keywords import LOWER, SAME, TYPES, UPPER, Schema, undecidable
from services.cli.contract.schemas import types_of, values_of, variants
from services.cli.contract.values import is_number, keeps, same

_MOST_STEPS = 50_000
#: The types that a promise is about; of all others, numbers.
_OF_TYPES = (
    (("minLength", "maxLength", "pattern", "format"), frozenset({"string"})),
    (("minItems", "maxItems", "uniqueItems"), frozenset({"array"})),
    (("minProperties", "maxProperties"), frozenset({"object"})),
)
_NUMBERS = frozenset({"integer", "number"})


class Difference(NamedTuple):
    """``path`` is the place in the document, as in ``data.after.amount`` or ``items[].count``."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path or 'the document'}: {self.problem}"


def differences(
    expected: Schema, promised: Schema, root: Mapping[str, Any], own: Mapping[str, Any], *, lenient: bool = False
) -> list[Difference]:
    """Why not every document that ``promised`` describes is one that ``expected`` describes; empty if each is.

    References are resolved in ``root`` (of the promise) and ``own`` (of the expectation). Raises Undecidable.
    """
    try:
        return _Comparison(root, own, lenient).of(expected, promised, "")
    except RecursionError:
        raise undecidable("", "the schemas are too deep to compare") from None


class _Comparison:
    def __init__(self, root: Mapping[str, Any], own: Mapping[str, Any], lenient: bool) -> None:
        self._root, self._own, self._lenient = root, own, lenient
        self._steps = 0
        #: Pairs that are being compared: within one, it is presumed to hold.
        self._open: set[tuple[int, int]] = set()

    def of(self, expected: Schema, promised: Schema, path: str) -> list[Difference]:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise undecidable(path, "the schemas are too large to compare")
        pair = (id(expected), id(promised))
        if pair in self._open:
            return []
        self._open.add(pair)
        try:
            wanted = list(variants(expected, self._own, path, strict=True))
            offered = list(variants(promised, self._root, path))
            if self._lenient and len(offered) > 1 and not any(_is_null(each) for each in wanted):
                offered = [each for each in offered if not _is_null(each)] or offered
            return [found for variant in offered for found in self._closest(wanted, variant, path)]
        finally:
            self._open.discard(pair)

    def _closest(
        self, wanted: Sequence[Mapping[str, Any]], variant: Mapping[str, Any], path: str
    ) -> list[Difference]:
        """The differences to the expected variant that is nearest; none if one describes ``variant``."""
        best: tuple[int, list[Difference]] | None = None
        for each in wanted:
            if not (found := list(self._one(each, variant, path))):
                return []
            rank = len(found) + (0 if types_of(each) & types_of(variant) else _MOST_STEPS)
            if best is None or rank < best[0]:
                best = rank, found
        if best is None:
            return [Difference(path, f"may be {_any_of(types_of(variant))}, and nothing can be what is expected")]
        return best[1]

    def _one(self, wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
        if self._lenient and types_of(variant) == TYPES:
            return
        missing = types_of(variant) - types_of(wanted)
        if missing and not (missing == {"integer"} and "number" in types_of(wanted)):
            yield Difference(path, f"may be {_any_of(missing)}, and {_any_of(types_of(wanted))} is expected")
            return
        yield from _values(wanted, variant, path)
        yield from _bounds(wanted, variant, path)
        if "object" in types_of(variant):
            yield from self._members(wanted, variant, path)
        if "array" in types_of(variant) and "items" in wanted:
            for each in (*variant.get("prefixItems", ()), variant.get("items", True)):
                yield from self.of(wanted["items"], each, f"{path}[]")

    def _members(self, wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
        known: Mapping[str, Any] = variant.get("properties", {})
        # Members that a description with members does not name are not promised.
        others = variant.get("additionalProperties", "properties" not in variant)
        if others is False and "patternProperties" in variant:
            others = True
        for name, schema in wanted.get("properties", {}).items():
            if known.get(name, others) is False:
                if schema is not False:
                    yield Difference(_member(path, name), "does not exist")
            else:
                yield from self.of(schema, known.get(name, others), _member(path, name))
        present = set(variant.get("required", ()))
        for name in () if self._lenient else wanted.get("required", ()):
            if known.get(name, others) is not False:
                if name not in present:
                    yield Difference(_member(path, name), "may be missing")
            elif name not in wanted.get("properties", {}):
                yield Difference(_member(path, name), "does not exist")
        rest = wanted.get("additionalProperties", True)
        if rest is not True:
            for name in sorted(set(known) - set(wanted.get("properties", {}))):
                if rest is False and known[name] is not False:
                    yield Difference(_member(path, name), "exists, and no other members are expected")
                else:
                    yield from self.of(rest, known[name], _member(path, name))
            if others is not False:
                yield from self.of(rest, others, _member(path, "*"))


def _member(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_null(schema: Mapping[str, Any]) -> bool:
    return types_of(schema) == {"null"}


def _values(wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
    expected, offered = values_of(wanted), values_of(variant)
    if expected is None:
        return
    if offered is None:
        yield Difference(path, f"may have other values than {_listed(expected)}")
    elif more := [value for value in offered if not any(same(value, each) for each in expected)]:
        yield Difference(path, f"may be {_listed(more)}, too")


def _bounds(wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
    offered = values_of(variant)
    for word in (*LOWER, *UPPER, *SAME):
        if word not in wanted or not _concerns(word, types_of(variant)) or _promises(variant, word, wanted[word]):
            continue
        if offered is None or word == "format":
            stated = f"it is {variant[word]}" if word in variant else "nothing is promised"
        elif wrong := [value for value in offered if not _keeps(value, word, wanted[word], path)]:
            stated = f"it may be {_listed(wrong)}"
        else:
            continue
        yield Difference(path, f"{word} {wanted[word]} is expected, and {stated}")


def _keeps(value: Any, word: str, bound: Any, path: str) -> bool:
    try:
        return keeps(value, word, bound)
    except ValueError as error:
        raise undecidable(path, str(error)) from None


def _promises(variant: Mapping[str, Any], word: str, bound: Any) -> bool:
    """Whether a bound is stated that is at least as narrow. Boolean ones, of old drafts, are none."""
    if (promised := variant.get(word)) is None or word in SAME:
        return bool(promised == bound)
    return is_number(promised) and bool(promised >= bound if word in LOWER else promised <= bound)


def _concerns(word: str, types: frozenset[str]) -> bool:
    """Whether a keyword says something about values of one of these types."""
    of = next((types for words, types in _OF_TYPES if word in words), _NUMBERS)
    return bool(types & of)


def _any_of(types: frozenset[str]) -> str:
    return "anything" if types >= TYPES else " or ".join(sorted(types)) or "nothing"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(repr, values[:5])) + (" …" if len(values) > 5 else "")
