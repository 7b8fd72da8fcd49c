"""Every topic and its messages, made from the AsyncAPI document."""

import json
from collections.abc import Mapping
from typing import Any

from tools.reference.markdown import code, sentence, table
from tools.reference.schemas import schema_sections


def topics_part(document: Mapping[str, Any]) -> str:
    """``document`` (AsyncAPI 3.0) as Markdown: topics, their messages, the schemas of those."""
    messages, lines = document["components"]["messages"], ["## Topics", ""]
    for channel in document["channels"].values():
        lines += [f"### {code(channel['address'])}", "", sentence(channel["description"]), ""]
        rows = []
        for name in channel["messages"]:
            message = messages[name]
            key = message.get("bindings", {}).get("kafka", {}).get("key", {}).get("description", "as it came")
            rows.append((code(message["name"]), code(message["contentType"]), key, sentence(message["summary"])))
        lines += table(["Message", "Content type", "Key", "Meaning"], rows)
    lines += ["## Messages", ""]
    for message in messages.values():
        lines += [f"### {code(message['name'])}", "", sentence(message["summary"]), ""]
        if reference := message.get("payload", {}).get("$ref"):
            name = reference.rpartition("/")[2]
            lines += [f"Value: [{name}](#{name.lower()}).", ""]
        headers = message.get("headers", {}).get("properties", {})
        lines += table(["Header", "Meaning"], [(code(name), h["description"]) for name, h in headers.items()])
        for example in message.get("examples", ()):
            lines += ["```json", json.dumps(example["payload"], indent=2, ensure_ascii=False), "```", ""]
    return "\n".join([*lines, *schema_sections(document["components"]["schemas"], "##")])
