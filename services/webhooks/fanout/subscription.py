"""What an endpoint subscribes to: which changes, and the form of their bodies. Pure."""

from collections.abc import Mapping
from typing import Any

from services.webhooks.fanout.expressions import BadExpression, Meter, evaluate
from shared.access.lineage import reveals
from shared.http.caller import CONSUMERS_READ, RELATIONS_READ
from shared.runtime.protocols import Document

#: Types of changes, and the topic that contains each.
TYPES: Mapping[str, str] = {
    "relation.changed": "relation-changes",
    "consumer.changed": "consumer-changes",
    "provider.changed": "provider-changes",
}
#: What the creator of an endpoint must be able to read.
SCOPES: Mapping[str, str] = {
    "relation.changed": RELATIONS_READ,
    "provider.changed": RELATIONS_READ,
    "consumer.changed": CONSUMERS_READ,
}
#: Deliveries that no change causes: a test, and the notice that another endpoint of the tenant was disabled.
TEST, DISABLED = "webhook.test", "webhook.disabled"

#: What an endpoint can choose changes by, and the fields that a choice by it reveals.
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "kinds": ("kind",),
    "providers": ("provider_id",),
    "categories": ("categories", "provider_id"),
    "purpose": ("consent",),
}


def topics_of(types: list[str]) -> set[str]:
    """The short names of the topics that contain these types of changes."""
    return {TYPES[type] for type in types if type in TYPES}


def matches(endpoint: Document, change: Document, body: Document, meter: Meter | None = None) -> bool:
    """Whether a stored endpoint subscribes to a change: all of ``types``, ``kinds``, ``providers`` and ``filter``
    that it states. The filter sees ``body``, in which the endpoint's masks are applied: otherwise it could search
    for hidden values. For the same reason an endpoint that chooses by what its masks hide gets nothing: that of an
    application to which the tenant has added the mask since. A filter that fails (a function of a missing value)
    does not match. ``meter`` counts its work."""
    if change["type"] not in endpoint["types"] or (endpoint["masks"] and chooses_by_hidden(endpoint)):
        return False
    data = change["data"]
    states = [state for state in (data.get("before"), data.get("after")) if state]
    if (kinds := endpoint.get("kinds")) and states and not any(state.get("kind") in kinds for state in states):
        return False
    if providers := endpoint.get("providers"):
        named = {data.get("provider_id"), *(state.get("provider_id") for state in states)} - {None}
        if named and not named & set(providers):
            return False
    expression = endpoint.get("filter")
    if expression is None:
        return True
    try:
        return bool(evaluate(expression, body, meter))
    except BadExpression:
        return False


def chooses_by_hidden(endpoint: Document) -> bool:
    """Whether an endpoint chooses changes by a field that its masks hide. Its own purpose is not its choice."""
    return any(
        endpoint.get(name) and reveals(endpoint["masks"], fields) is not None
        for name, fields in CONDITIONS.items()
        if name != "purpose" or not endpoint.get("bound")
    )


def rendered(template: str | None, body: Document) -> Any:
    """The body in the form of the endpoint's template. Raises BadExpression when the template fails on it."""
    if template is None:
        return body
    return evaluate(template, body)
