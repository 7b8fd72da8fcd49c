"""The topics, what belongs into each, and how their keys are partitioned. Pure."""

from dataclasses import dataclass

from shared.contracts.errors import InvalidEvent
from shared.contracts.events import EVENT_TYPES, Event
from shared.contracts.topic_names import AUDIT, CHANGES, INPUTS, LEDGER, OUTPUTS, WRAPPED_KEYS

__all__ = ["AUDIT", "CHANGES", "INPUTS", "LEDGER", "OUTPUTS", "WRAPPED_KEYS", "Topics"]

_INPUT_OF = {type: type.split(".", 1)[0] + "s" for type in EVENT_TYPES}


@dataclass(frozen=True, slots=True)
class Topics:
    """Full topic names under a prefix: ``Topics("kith").name("relations") == "kith.relations"``."""

    prefix: str = "kith"

    def name(self, short: str) -> str:
        return f"{self.prefix}.{short}"

    def short(self, name: str) -> str:
        return name.removeprefix(f"{self.prefix}.")

    def of(self, event: Event) -> str:
        """The topic that an event belongs to."""
        return f"{self.prefix}.{_INPUT_OF[event.type]}"

    def check(self, event: Event, topic: str) -> None:
        """Raise InvalidEvent when an event came through another topic than its own."""
        if self.of(event) != topic:
            raise InvalidEvent("wrong_topic", f"belongs into {self.of(event)}", "type")
