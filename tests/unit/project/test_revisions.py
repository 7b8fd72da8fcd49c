"""A changed event schema or validator has a revision of its own: ``tests/data/revisions.json`` holds every one.

An upgrade depends on it: a door holds back what a running worker does not know, and a worker leaves the validators
of a newer version as they are.
"""

import json
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from services.privacy.schema import COLLECTIONS as PRIVACY
from services.rebuild.context import NAMES, projection_of
from shared.contracts.codec import decode_fields
from shared.contracts.events import EVENT_MODELS, EVENT_TYPES
from shared.contracts.revision import REVISION, needed
from shared.settings import Settings
from shared.vault.schema import COLLECTIONS as VAULT
from tests.support.paths import DATA, EXAMPLES

RECORDED: dict[str, dict[str, Any]] = json.loads((DATA / "revisions.json").read_text())


def fields_of(model: type[BaseModel]) -> list[str]:
    """The paths of a model's fields."""
    found = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        inner = [each for each in (annotation, *getattr(annotation, "__args__", ())) if isinstance(each, type)]
        parts = [each for each in inner if issubclass(each, BaseModel)]
        found += [f"{name}.{path}" for part in parts for path in fields_of(part)] or [name]
    return sorted(found)


def test_a_new_field_of_an_event_has_a_revision() -> None:
    now = {type: fields_of(model) for type, model in zip(EVENT_TYPES, EVENT_MODELS, strict=True)}
    assert RECORDED[str(REVISION)]["events"] == now, (
        "Fields of events have changed. In shared/contracts/revision.py raise REVISION; let needed() return it "
        "for events that use the new field; then add the revision to tests/data/revisions.json."
    )


def test_a_changed_validator_has_a_revision() -> None:
    projected = [projection_of(Settings(encryption="off"), name)[1] for name in NAMES]
    found = [*projected, PRIVACY, VAULT]
    validators = {name: spec.validator for collections in found for name, spec in collections.items()}
    digest = sha256(json.dumps(validators, sort_keys=True).encode()).hexdigest()
    assert RECORDED[str(REVISION)]["validators"] == digest, (
        f"A validator has changed. In shared/contracts/revision.py raise REVISION; add its digest {digest} to "
        "tests/data/revisions.json. The new validator must accept what the version before writes."
    )


def test_revisions_only_rise() -> None:
    assert max(map(int, RECORDED)) == REVISION


def states(event: dict[str, Any], path: str) -> bool:
    value: Any = event
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def test_an_event_that_states_what_is_new_needs_its_revision() -> None:
    """By the examples, of which a test demands that they state every field."""
    examples = [json.loads(path.read_bytes()) for path in sorted(EXAMPLES.glob("*.json"))]
    seen = 0
    for number in range(2, REVISION + 1):
        before, after = RECORDED[str(number - 1)]["events"], RECORDED[str(number)]["events"]
        for event in examples:
            new = set(after.get(event["type"], ())) - set(before.get(event["type"], ()))
            if any(states(event, path) for path in new):
                seen += 1
                assert needed(decode_fields(event)) >= number, (
                    f"shared/contracts/revision.py: needed() returns less than {number} for {event['id']} "
                    f"({event['type']}), which states {sorted(path for path in new if states(event, path))}"
                )
    assert seen
