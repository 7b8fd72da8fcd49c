"""What a version of Kith publishes: the AsyncAPI document of its topics, and each service's OpenAPI document."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from shared.contracts.errors import ConfigurationError

Json = dict[str, Any]

ASYNCAPI = "asyncapi.json"
_JSON = "application/json"


class Contract(NamedTuple):
    """``schema`` describes each document of a contract; its references are resolved in ``root``."""

    schema: Mapping[str, Any]
    root: Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """``topics`` is the AsyncAPI document, ``services`` the OpenAPI document of each service."""

    topics: Json
    services: Mapping[str, Json]

    @property
    def version(self) -> str:
        return str(self.topics.get("info", {}).get("version", "unknown"))

    def contracts(self) -> dict[str, Contract]:
        """What can be read, by name: ``topic relation-changes``, ``webhook relation.changed``,
        ``relations GET /v1/relationships``."""
        return dict(self._each())

    def _each(self) -> Iterator[tuple[str, Contract]]:
        for short, channel in self.topics.get("channels", {}).items():
            messages = [_target(each["$ref"], self.topics) for each in channel.get("messages", {}).values()]
            payloads = [message["payload"] for message in messages if message.get("payload")]
            yield f"topic {short}", Contract({"anyOf": payloads} if payloads else {}, self.topics)
        for service, document in self.services.items():
            for name, methods in document.get("webhooks", {}).items():
                for operation in methods.values():
                    schema = operation["requestBody"]["content"][_JSON]["schema"]
                    yield f"webhook {name}", Contract(schema, document)
            for path, methods in document.get("paths", {}).items():
                for method, operation in methods.items():
                    if (answer := _answer(operation)) is not None:
                        yield f"{service} {method.upper()} {path}", Contract(answer, document)


def _answer(operation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the JSON of a successful answer; None where there is none."""
    for status in ("200", "201", "202"):
        content = operation.get("responses", {}).get(status, {}).get("content", {})
        if _JSON in content:
            schema: Mapping[str, Any] = content[_JSON].get("schema", {})
            return schema
    return None


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    target: Mapping[str, Any] = found
    return target


def read_folder(folder: Path) -> Published:
    """What ``write_folder`` has saved. Raises ConfigurationError."""
    files = sorted(folder.glob("*.json"))
    if folder / ASYNCAPI not in files:
        raise ConfigurationError(
            f"{folder} has no {ASYNCAPI}: kith contract save {folder} writes what is published"
        )
    documents = {}
    for file in files:
        try:
            documents[file.name] = json.loads(file.read_bytes())
        except ValueError as error:
            raise ConfigurationError(f"{file} is not JSON: {error}") from None
    topics = documents.pop(ASYNCAPI)
    return Published(topics, {name.removesuffix(".json"): document for name, document in documents.items()})


def write_folder(published: Published, folder: Path) -> list[Path]:
    """Write each document to a file. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = {ASYNCAPI: published.topics}
    documents |= {f"{service}.json": document for service, document in published.services.items()}
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return [folder / name for name in documents]
