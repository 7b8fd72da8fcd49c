"""What a third party expects of Kith: a file of the documents that it reads and the events that it sends.

```toml
reader = "billing"

[[reads]]
contract = "topic relation-changes"
fields = ["data.after.amount", "data.after.currency"]

[[reads]]
contract = "relations GET /v1/relationships/{consumer_id}/{provider_id}"
schema = { type = "object", required = ["count"], properties = { count = { type = "integer" } } }

[[sends]]
example = { specversion = "1.0", id = "1", source = "billing", type = "relation.recorded", … }
```

JSON of the same form is read, too. ``fields`` are names only; ``example`` adds their types; ``schema`` says all:
what is required, and what must not be null.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from services.cli.contract.compare import Difference, differences
from services.cli.contract.keywords import Undecidable
from services.cli.contract.published import Published
from services.cli.contract.values import type_of
from shared.contracts.codec import decode
from shared.contracts.errors import ConfigurationError, InvalidEvent

_FORMS = ("fields", "example", "schema")


@dataclass(frozen=True)
class Reads:
    """``schema`` is the expectation; ``lenient`` where it was made of names or an example."""

    contract: str
    schema: Mapping[str, Any]
    lenient: bool


@dataclass(frozen=True)
class Expectations:
    reader: str
    reads: Sequence[Reads]
    sends: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """``problems`` is empty where the expectation holds."""

    what: str
    problems: Sequence[str]


def read_expectations(file: Path) -> Expectations:
    """The expectations in a file of TOML or JSON. Raises ConfigurationError, which names the place."""
    try:
        raw = file.read_bytes()
        found = tomllib.loads(raw.decode()) if file.suffix == ".toml" else json.loads(raw)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{file} is neither TOML (.toml) nor JSON: {error}") from None
    if not isinstance(found, dict) or not ({"reads", "sends"} & set(found)):
        raise ConfigurationError(
            f"{file} has neither `reads` nor `sends`: kith contract check --help shows the form"
        )
    if unknown := sorted(set(found) - {"reader", "reads", "sends"}):
        raise ConfigurationError(f"{file}: {unknown[0]} is unknown; there are reader, reads and sends")
    reads = [_reads(each, f"{file}: reads[{n}]") for n, each in enumerate(_list(found, "reads", file))]
    sends = [_sends(each, f"{file}: sends[{n}]") for n, each in enumerate(_list(found, "sends", file))]
    return Expectations(str(found.get("reader", file.stem)), reads, sends)


def _list(found: Mapping[str, Any], name: str, file: Path) -> list[Any]:
    if not isinstance(listed := found.get(name, []), list):
        raise ConfigurationError(f"{file}: {name} is no list")
    return listed


def _reads(stated: Any, place: str) -> Reads:
    if not isinstance(stated, dict) or not isinstance(stated.get("contract"), str):
        raise ConfigurationError(f"{place} names no contract; kith contract list shows all")
    forms = [form for form in _FORMS if form in stated]
    if len(forms) != 1 or set(stated) - {"contract", *_FORMS}:
        raise ConfigurationError(f"{place} has to have contract, and one of {', '.join(_FORMS)}")
    [form] = forms
    if form == "schema":
        if not isinstance(stated[form], dict):
            raise ConfigurationError(f"{place}: schema is no JSON Schema")
        return Reads(stated["contract"], stated[form], lenient=False)
    if form == "example":
        return Reads(stated["contract"], schema_of_example(stated[form]), lenient=True)
    if not isinstance(stated[form], list) or not all(isinstance(each, str) and each for each in stated[form]):
        raise ConfigurationError(f"{place}: fields is no list of names such as data.after.amount or items[].count")
    return Reads(stated["contract"], schema_of_fields(stated[form]), lenient=True)


def _sends(stated: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(stated, dict) or set(stated) != {"example"} or not isinstance(stated["example"], dict):
        raise ConfigurationError(f"{place} has to be {{example = an event}}")
    example: Mapping[str, Any] = stated["example"]
    return example


def schema_of_example(value: Any) -> dict[str, Any]:
    """What a reader of such a document reads: its members, and their types. A null says nothing."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {"type": "object", "properties": {name: schema_of_example(each) for name, each in value.items()}}
    if isinstance(value, list):
        return {
            "type": "array",
            **({"items": {"anyOf": [schema_of_example(each) for each in value]}} if value else {}),
        }
    return {"type": "number" if type_of(value) == "number" else type_of(value)}


def schema_of_fields(names: Sequence[str]) -> dict[str, Any]:
    """What a reader of these members reads: ``items[].count`` is the count of each item."""
    made: dict[str, Any] = {}
    for name in names:
        at = made
        for part in name.split("."):
            bare, *lists = part.split("[]")
            if bare:
                at = at.setdefault("properties", {}).setdefault(bare, {})
            for _ in lists:
                at = at.setdefault("items", {})
    return made


def verdicts(expected: Expectations, published: Published) -> Iterator[Verdict]:
    """States of each expectation whether it holds. Raises ConfigurationError for one that cannot be decided."""
    contracts = published.contracts()
    for each in expected.reads:
        if (contract := contracts.get(each.contract)) is None:
            near = get_close_matches(each.contract, contracts, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else "; kith contract list shows all"
            yield Verdict(each.contract, [f"there is no such contract{meant}"])
            continue
        try:
            found = differences(each.schema, contract.schema, contract.root, each.schema, lenient=each.lenient)
        except Undecidable as error:
            raise ConfigurationError(f"{each.contract}: {error}") from None
        yield Verdict(each.contract, _texts(found))
    for event in expected.sends:
        yield Verdict(f"event {event.get('type')}", _refused(event))


def _texts(found: Sequence[Difference]) -> list[str]:
    return [*dict.fromkeys(map(str, found))]


def _refused(event: Mapping[str, Any]) -> list[str]:
    try:
        decode(json.dumps(event, default=str).encode())
    except InvalidEvent as error:
        return [f"{error.field or 'the event'}: {error.detail} ({error.reason})"]
    return []
