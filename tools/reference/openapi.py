"""A service's routes, made from its OpenAPI document. Pure."""

from collections.abc import Mapping
from typing import Any

from tools.reference.markdown import code, sentence, table
from tools.reference.schemas import limits, schema_sections, shape

Json = Mapping[str, Any]


def api_part(document: Json) -> str:
    """``document`` as Markdown: an overview, a section for each route, the schemas."""
    routes = [(method, path, op) for path, item in document["paths"].items() for method, op in item.items()]
    lines = [document["info"].get("description", "").strip(), "", "## Routes"]
    overview = [
        (f"[{code(f'{method.upper()} {path}')}](#{_anchor(method, path)})", sentence(op["summary"]), _scope(op))
        for method, path, op in routes
    ]
    lines += table(["Route", "Answer", "Scope"], overview)
    for method, path, op in routes:
        lines += _route(method, path, op)
    schemas = document.get("components", {}).get("schemas", {})
    return "\n".join([*lines, *schema_sections(schemas, "##")])


def _anchor(method: str, path: str) -> str:
    words = "".join(char if char.isalnum() else " " for char in f"{method} {path}".lower())
    return "-".join(words.split())


def _route(method: str, path: str, op: Json) -> list[str]:
    heading = f"### {code(f'{method.upper()} {path}')} {{ #{_anchor(method, path)} }}"
    lines = [
        heading,
        "",
        sentence(op["summary"]),
        "",
        op.get("description", "").strip(),
        "",
        f"Scope: {_scope(op)}.",
    ]
    rows = [
        (
            code(p["name"]) + (" (required)" if p.get("required") else ""),
            p["in"],
            shape(p["schema"]),
            " ".join(filter(None, (sentence(p.get("description", "")), limits(p["schema"])))),
        )
        for p in op.get("parameters", ())
    ]
    lines += table(["Parameter", "In", "Type", "Meaning"], rows)
    if body := op.get("requestBody"):
        contents = [(code(kind), shape(held.get("schema", {}))) for kind, held in body["content"].items()]
        lines += table(["Body", "Type"], contents)
    answers = [
        (status, _content(answer), sentence(answer["description"]))
        for status, answer in sorted(op["responses"].items())
    ]
    return [*lines, *table(["Status", "Answer", "When"], answers)]


def _content(answer: Json) -> str:
    shapes = [shape(held.get("schema", {})) for held in answer.get("content", {}).values()]
    return " or ".join(dict.fromkeys(shapes)) or "–"


def _scope(op: Json) -> str:
    scopes = dict.fromkeys(
        scope for choice in op.get("security", ()) for held in choice.values() for scope in held
    )
    return ", ".join(map(code, scopes)) or "none"
