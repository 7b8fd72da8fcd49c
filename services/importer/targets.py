"""The paths of each event type's data, and the type of value at each. Pure."""

from collections.abc import Iterable

from pydantic import BaseModel, TypeAdapter, ValidationError

from services.importer.fields import Target
from shared.contracts.events import EVENT_MODELS, EVENT_TYPES, Location, Name

#: The parts of an event's data that contain fields.
CONTAINERS = frozenset({"personal", "location", "traits", "consent"})

#: Fields that are ids; ``id`` is the event's.
IDS = frozenset({"id", "consumer_id", "provider_id", "relation_id"})

_LEAVES: dict[str, Target] = {
    "amount": "int",
    "rating": "int",
    "occurred_at": "time",
    "categories": "list",
    "location.lat": "float",
    "location.lon": "float",
}
_PARTS: dict[str, Target] = {"personal": "text", "location": "text", "traits": "any", "consent": "bool"}
_NAME: TypeAdapter[str] = TypeAdapter(Name)


def target_of(path: str) -> Target:
    """The type of value at a path of an event's data: ``text`` unless the schema has another type."""
    if path in _LEAVES:
        return _LEAVES[path]
    container, _, part = path.partition(".")
    if container in CONTAINERS:
        return _PARTS[container] if part else "object"
    return "text"


def data_model(event_type: str) -> type[BaseModel]:
    model = EVENT_MODELS[EVENT_TYPES.index(event_type)].model_fields["data"].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model


def check_targets(event_type: str, paths: Iterable[str]) -> None:
    """Raise ValueError if the event type lacks one of the paths, or if a required path is absent."""
    known = data_model(event_type).model_fields
    seen = set(paths)
    for path in sorted(seen):
        top, _, part = path.partition(".")
        if top not in known:
            raise ValueError(f"fields.{path}: {event_type} has no {top}; it has {', '.join(known)}")
        if part and top not in CONTAINERS:
            raise ValueError(f"fields.{path}: {top} has no parts")
        if part and top == "location" and part not in Location.model_fields:
            raise ValueError(f"fields.{path}: a location has {', '.join(Location.model_fields)}")
        if part and top in seen:
            raise ValueError(f"fields.{path}: {top} is given as a whole as well")
        if part:
            _check_name(path, part)
    required = set(needed_of(event_type))
    if event_type == "relation.recorded":
        required.discard("relation_id")  # without one, the event's id identifies the relation
    if absent := sorted(required - seen):
        raise ValueError(f"fields.{absent[0]}: {event_type} needs it")


def needed_of(event_type: str) -> frozenset[str]:
    """The required paths of the event type."""
    return frozenset(name for name, field in data_model(event_type).model_fields.items() if field.is_required())


def _check_name(path: str, part: str) -> None:
    try:
        _NAME.validate_python(part)
    except ValidationError:
        raise ValueError(
            f"fields.{path}: a name is a letter followed by at most 63 letters, digits, _ and -"
        ) from None
