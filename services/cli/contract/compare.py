"""Compares two JSON Schemas: whether everything that one describes is what the other expects. Pure.

It decides the keywords that Kith's documents use, and says so where it cannot decide one. With ``lenient``, what
may be null or missing is no difference: an example shows what a reader reads, not what it does without.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Schema = Mapping[str, Any] | bool

_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
#: A promise that has to be at least as narrow as the expectation, from below and from above.
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
#: A promise that has to be the same.
_SAME = ("format", "pattern", "multipleOf", "uniqueItems")
_STRUCTURE = ("type", "enum", "const", "properties", "required", "additionalProperties", "items")
_COMBINED = ("anyOf", "oneOf", "allOf", "$ref")
_NOTES = (
    *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
    *("$schema", "$id", "$defs", "definitions", "$comment", "discriminator"),
)
_KNOWN = frozenset({*_LOWER, *_UPPER, *_SAME, *_STRUCTURE, *_COMBINED, *_NOTES})
_MOST_STEPS = 50_000
#: The types that a promise is about; of all others, numbers.
_OF_TYPES = (
    (("minLength", "maxLength", "pattern", "format"), frozenset({"string"})),
    (("minItems", "maxItems", "uniqueItems"), frozenset({"array"})),
    (("minProperties", "maxProperties"), frozenset({"object"})),
)
_NUMBERS = frozenset({"integer", "number"})


class Undecidable(ValueError):
    """The expectation uses what is not compared here. The message names it and its place."""


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
    return _Comparison(root, own, lenient).of(expected, promised, "")


class _Comparison:
    def __init__(self, root: Mapping[str, Any], own: Mapping[str, Any], lenient: bool) -> None:
        self._root, self._own, self._lenient = root, own, lenient
        self._steps = 0
        #: Pairs that are being compared: within one, it is presumed to hold.
        self._open: set[tuple[int, int]] = set()

    def of(self, expected: Schema, promised: Schema, path: str) -> list[Difference]:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise Undecidable(f"{path or 'the document'}: the schemas are too large to compare")
        pair = (id(expected), id(promised))
        if pair in self._open:
            return []
        self._open.add(pair)
        try:
            wanted = list(_variants(expected, self._own, path, strict=True))
            offered = list(_variants(promised, self._root, path))
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
            rank = len(found) + (0 if _types(each) & _types(variant) else _MOST_STEPS)
            if best is None or rank < best[0]:
                best = rank, found
        assert best is not None
        return best[1]

    def _one(self, wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
        if self._lenient and _types(variant) == _TYPES:
            return
        missing = _types(variant) - _types(wanted)
        if missing and not (missing == {"integer"} and "number" in _types(wanted)):
            yield Difference(path, f"may be {_any_of(missing)}, and {_any_of(_types(wanted))} is expected")
            return
        yield from _values(wanted, variant, path)
        yield from _bounds(wanted, variant, path)
        if "object" in _types(variant):
            yield from self._members(wanted, variant, path)
        if "array" in _types(variant) and "items" in wanted:
            yield from self.of(wanted["items"], variant.get("items", True), f"{path}[]")

    def _members(self, wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
        known: Mapping[str, Any] = variant.get("properties", {})
        # Members that a description with members does not name are not promised.
        others = variant.get("additionalProperties", "properties" not in variant)
        for name, schema in wanted.get("properties", {}).items():
            if name not in known and others is False:
                yield Difference(_member(path, name), "does not exist")
            else:
                yield from self.of(schema, known.get(name, others), _member(path, name))
        present = set(variant.get("required", ()))
        for name in () if self._lenient else wanted.get("required", ()):
            if name in known or others is not False:
                if name not in present:
                    yield Difference(_member(path, name), "may be missing")
            elif name not in wanted.get("properties", {}):
                yield Difference(_member(path, name), "does not exist")
        rest = wanted.get("additionalProperties", True)
        if rest is not True:
            for name in sorted(set(known) - set(wanted.get("properties", {}))):
                if rest is False:
                    yield Difference(_member(path, name), "exists, and no other members are expected")
                else:
                    yield from self.of(rest, known[name], _member(path, name))
            if others is not False:
                yield from self.of(rest, others, _member(path, "*"))


def _variants(
    schema: Schema, root: Mapping[str, Any], path: str, *, strict: bool = False
) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a schema, each without references and combinations. ``strict`` raises Undecidable for a
    keyword that is not compared."""
    if schema is False:
        return
    if schema is True:
        yield {}
        return
    assert isinstance(schema, Mapping)
    if strict and (unknown := sorted(set(schema) - _KNOWN)):
        raise Undecidable(f"{path or 'the document'}: {unknown[0]} is not compared; leave it out")
    if "$ref" in schema:
        base = {name: value for name, value in schema.items() if name != "$ref"}
        for variant in _variants(resolve(schema["$ref"], root, path), root, path, strict=strict):
            yield _both(variant, base)
        return
    for word in ("anyOf", "oneOf"):
        if word in schema:
            base = {name: value for name, value in schema.items() if name != word}
            for alternative in schema[word]:
                for variant in _variants(_both(alternative, base), root, path, strict=strict):
                    yield variant
            return
    if "allOf" in schema:
        merged: Mapping[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
        for part in schema["allOf"]:
            parts = list(_variants(part, root, path, strict=strict))
            if len(parts) != 1:
                raise Undecidable(f"{path or 'the document'}: alternatives within allOf are not compared")
            merged = _both(merged, parts[0])
        yield from _variants(merged, root, path, strict=strict)
        return
    types = schema.get("type")
    if isinstance(types, list):
        for type in types:
            yield {**schema, "type": type}
        return
    yield schema


def resolve(reference: str, root: Mapping[str, Any], path: str = "") -> Schema:
    """What ``#/components/schemas/NAME`` leads to in ``root``. Raises Undecidable."""
    found: Any = root
    if not reference.startswith("#"):
        raise Undecidable(f"{path or 'the document'}: {reference} lies in another document")
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise Undecidable(f"{path or 'the document'}: {reference} leads nowhere")
        found = found[name]
    schema: Schema = found
    return schema


def _both(one: Schema, other: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what both state."""
    if isinstance(one, bool):
        return other if one else {**other, "enum": []}
    merged = {**other, **one}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*dict.fromkeys([*other["required"], *one["required"]])]
    return merged


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    if "type" in schema:
        return frozenset({schema["type"]})
    if "const" in schema:
        return frozenset({type_of(schema["const"])})
    if "enum" in schema:
        return frozenset(type_of(value) for value in schema["enum"])
    return _TYPES if not {"properties", "required"} & set(schema) else frozenset({"object"})


def _member(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_null(schema: Mapping[str, Any]) -> bool:
    return _types(schema) == {"null"}


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _allowed(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found: list[Any] | None = schema.get("enum")
    return found


def _values(wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
    expected, offered = _allowed(wanted), _allowed(variant)
    if expected is None:
        return
    if offered is None:
        yield Difference(path, f"may have other values than {_listed(expected)}")
    elif more := [value for value in offered if not any(_same(value, each) for each in expected)]:
        yield Difference(path, f"may be {_listed(more)}, too")


def _same(one: Any, other: Any) -> bool:
    return type_of(one) == type_of(other) and bool(one == other)


def _bounds(wanted: Mapping[str, Any], variant: Mapping[str, Any], path: str) -> Iterator[Difference]:
    if _allowed(variant) is not None and not any(word in variant for word in (*_LOWER, *_UPPER, *_SAME)):
        return  # known values; the expected ones have been compared
    for word in (*_LOWER, *_UPPER, *_SAME):
        if word not in wanted or not _concerns(word, _types(variant)):
            continue
        promised = variant.get(word)
        narrow = (
            promised is not None
            and (word not in _LOWER or promised >= wanted[word])
            and (word not in _UPPER or promised <= wanted[word])
            and (word not in _SAME or promised == wanted[word])
        )
        if not narrow:
            stated = "nothing is promised" if promised is None else f"it is {promised}"
            yield Difference(path, f"{word} {wanted[word]} is expected, and {stated}")


def _concerns(word: str, types: frozenset[str]) -> bool:
    """Whether a keyword says something about values of one of these types."""
    of = next((types for words, types in _OF_TYPES if word in words), _NUMBERS)
    return bool(types & of)


def _any_of(types: frozenset[str]) -> str:
    return "anything" if types >= _TYPES else " or ".join(sorted(types))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(repr, values[:5])) + (" …" if len(values) > 5 else "")
