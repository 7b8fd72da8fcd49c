"""JSON Schemas as tables of their fields. Pure."""

from collections.abc import Mapping
from typing import Any

from tools.reference.markdown import code, sentence, table

_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} members",
}


def schema_sections(schemas: Mapping[str, Any], level: str) -> list[str]:
    """A section for each schema, with a row for each field; ``level`` is the heading above."""
    lines = [f"{level} Schemas", ""]
    for name, schema in sorted(schemas.items()):
        lines += [f"{level}# {name}", "", sentence(schema.get("description", ""))]
        required = schema.get("required", ())
        rows = [
            (code(field), shape(inner), "yes" if field in required else "no", _meaning(inner))
            for field, inner in schema.get("properties", {}).items()
        ]
        lines += table(["Field", "Type", "Required", "Meaning"], rows) or ["", shape(schema), ""]
    return lines


def shape(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words: a type, a choice, or a link to the section of a schema."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(shape(inner) for inner in schema[word]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {shape(schema.get('items', {}))}"
    if kind == "object" and isinstance(inner := schema.get("additionalProperties"), Mapping):
        return f"map of {shape(inner)}"
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _meaning(schema: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (sentence(schema.get("description", "")), limits(schema))))


def limits(schema: Mapping[str, Any]) -> str:
    """The bounds, the pattern and the default of a value, as a sentence; empty without any."""
    found = []
    for part in (schema, *schema.get("anyOf", ())):
        found += [text.format(part[name]) for name, text in _LIMITS.items() if name in part]
        if "pattern" in part:
            found.append(f"form {code(part['pattern'])}")
    if schema.get("default") not in (None, "", [], {}):
        found.append(f"default {code(schema['default'])}")
    return sentence("; ".join(dict.fromkeys(found)))
