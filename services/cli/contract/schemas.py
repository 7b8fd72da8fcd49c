"""JSON Schemas put into a form that can be compared: alternatives without references and combinations. Pure.

Whatever is put together says exactly what its parts say, and what cannot be put together is an error: a keyword
that got lost would let an expectation hold that does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.cli.contract.keywords import (
    ALTERNATIVES,
    COMBINED,
    LOWER,
    NOTES,
    TYPES,
    UPPER,
    Schema,
    check_form,
    undecidable,
)
from services.cli.contract.values import is_of, same, type_of


def variants(
    schema: Schema, root: Mapping[str, Any], path: str, *, strict: bool = False
) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a schema, each without references and combinations. ``strict`` raises Undecidable for a
    keyword that is not compared."""
    if schema is False:
        return
    if schema is True:
        yield {}
        return
    if strict:
        check_form(schema, path)
    if "$ref" in schema:
        rest = _without(schema, "$ref")
        for variant in variants(resolve(schema["$ref"], root, path), root, path, strict=strict):
            yield from variants(_both(variant, rest, path), root, path, strict=strict)
        return
    for word in ALTERNATIVES:
        if word in schema:
            rest = _without(schema, word)
            alternatives = list(schema[word])
            if strict and word == "oneOf":
                _check_one_of([list(variants(each, root, path, strict=True)) for each in alternatives], path)
            for alternative in alternatives:
                yield from variants(_both(alternative, rest, path), root, path, strict=strict)
            return
    if "allOf" in schema:
        merged: Mapping[str, Any] = _without(schema, "allOf")
        for part in schema["allOf"]:
            parts = list(variants(part, root, path, strict=strict))
            if len(parts) != 1:
                raise undecidable(path, "alternatives within allOf are not compared")
            merged = _both(merged, parts[0], path)
        yield from variants(merged, root, path, strict=strict)
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
        raise undecidable(path, f"{reference} lies in another document")
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise undecidable(path, f"{reference} leads nowhere")
        found = found[name]
    if not isinstance(found, Mapping | bool):
        raise undecidable(path, f"{reference} leads to no schema")
    return found


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types of an alternative. One that has members, and states no type, is an object's."""
    if "type" in schema:
        return frozenset({schema["type"]})
    if (values := values_of(schema)) is not None:
        return frozenset(map(type_of, values))
    return TYPES if not {"properties", "required"} & set(schema) else frozenset({"object"})


def values_of(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that an alternative lists, as far as they are of its type; None where it lists none."""
    if "const" not in schema and "enum" not in schema:
        return None
    values = [schema["const"]] if "const" in schema else list(schema["enum"])
    if "const" in schema and "enum" in schema:
        values = [value for value in values if any(same(value, each) for each in schema["enum"])]
    return [value for value in values if "type" not in schema or is_of(value, schema["type"])]


def _without(schema: Mapping[str, Any], word: str) -> Mapping[str, Any]:
    return {name: value for name, value in schema.items() if name != word}


def _both(one: Schema, other: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """A schema of what is described by both. Raises Undecidable."""
    if isinstance(one, bool):
        return other if one else {"type": []}
    merged = {**other, **one}
    for word in set(one) & set(other) - {*NOTES, "properties", "additionalProperties"}:
        if not same(one[word], other[word]):
            merged[word] = _joined(word, one[word], other[word], path)
    if {"properties", "additionalProperties"} & set(one) and {"properties", "additionalProperties"} & set(other):
        merged |= _members_of_both(one, other)
    return merged


def _joined(word: str, one: Any, other: Any, path: str) -> Any:
    if word in LOWER:
        return max(one, other)
    if word in UPPER:
        return min(one, other)
    if word == "required":
        return [*dict.fromkeys([*one, *other])]
    if word == "enum":
        return [value for value in one if any(same(value, each) for each in other)]
    if word == "type":
        return [type for type in sorted(TYPES) if _includes(one, type) and _includes(other, type)]
    if word == "items":
        return _all_of(one, other)
    if word == "allOf":
        return [*one, *other]
    raise undecidable(path, f"{word} is stated twice for one place, which is not compared")


def _includes(types: str | Sequence[str], type: str) -> bool:
    listed = [types] if isinstance(types, str) else types
    return type in listed or (type == "integer" and "number" in listed)


def _members_of_both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The members of two descriptions: what one of them does not name is to it what its other members are."""
    members = [each.get("properties", {}) for each in (one, other)]
    rest = [each.get("additionalProperties", True) for each in (one, other)]
    names = dict.fromkeys([*members[1], *members[0]])
    made: dict[str, Any] = {
        "properties": {
            name: _all_of(*(of.get(name, others) for of, others in zip(members, rest, strict=True)))
            for name in names
        }
    }
    if any("additionalProperties" in each for each in (one, other)):
        made["additionalProperties"] = _all_of(*rest)
    return made


def _all_of(one: Schema, other: Schema) -> Schema:
    if one is True or one == other:
        return other
    if other is True:
        return one
    return False if one is False or other is False else {"allOf": [one, other]}


def _check_one_of(alternatives: Sequence[Sequence[Mapping[str, Any]]], path: str) -> None:
    """Raise Undecidable unless no document is of two alternatives: it would be of none."""
    for place, variants in enumerate(alternatives):
        for others in alternatives[place + 1 :]:
            if not all(_are_apart(one, other) for one in variants for other in others):
                raise undecidable(path, "oneOf of alternatives that may overlap is not compared; use anyOf")


def _are_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether surely no document is of both: by their types, their values, or those of a member of theirs."""
    types = [_possible(each) for each in (one, other)]
    if not types[0] & types[1]:
        return True
    mine, theirs = values_of(one), values_of(other)
    if mine is not None and theirs is not None:
        return not any(same(value, each) for value in mine for each in theirs)
    if types[0] | types[1] != {"object"}:
        return False
    needed = {*one.get("required", ()), *other.get("required", ())}
    members = [each.get("properties", {}) for each in (one, other)]
    return any(
        isinstance(members[0][name], Mapping)
        and isinstance(members[1][name], Mapping)
        and not {*COMBINED} & {*members[0][name], *members[1][name]}
        and all(isinstance(of[name].get("type", ""), str) for of in members)
        and _are_apart(members[0][name], members[1][name])
        for name in needed & set(members[0]) & set(members[1])
    )


def _possible(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types that a document of an alternative may have."""
    types = types_of(schema) if {"type", "enum", "const"} & set(schema) else TYPES
    return types | {"integer"} if "number" in types else types
