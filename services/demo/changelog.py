"""Checks the change log: the changes of each fact form an unbroken chain that ends in the expected fact."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from services.demo.comparison import Findings, to_milliseconds
from services.demo.oracle import PUBLISHED, Document, Expected, Key


class Logged(NamedTuple):
    """One change of ``kith.relation-changes``: its partition there, and its JSON."""

    partition: int
    change: Document


class ChangeLog:
    """Reads the changes of the expected tenants in the order of each partition, then checks them."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._findings = Findings()
        self._changes: dict[int, dict[tuple[int, int], Document]] = {}

    def read(self, records: Iterable[Logged]) -> None:
        """A change may be published twice; then both must be equal."""
        for partition, change in records:
            if change["tenant"] not in self._expected.tenants:
                continue
            data = change["data"]
            origin = data["origin"]
            if origin["partition"] != partition:
                self._findings.add("changes", change["id"], "origin.partition", partition, origin["partition"])
            place = (origin["offset"], origin["index"])
            first = self._changes.setdefault(partition, {}).setdefault(place, change)
            if first != change:
                self._findings.add("changes", change["id"], "", first, change)

    @property
    def changes(self) -> int:
        """How many distinct changes there are."""
        return sum(map(len, self._changes.values()))

    def of(self, tenant: str) -> dict[tuple[int, int, int], Document]:
        """The distinct changes of a tenant, by partition, offset and index of their origin."""
        return {
            (partition, *place): change
            for partition, changes in self._changes.items()
            for place, change in changes.items()
            if change["tenant"] == tenant
        }

    def judge(self) -> Findings:
        """The breaks in the chains. A fact starts from nothing, each change from the state that the last one
        left."""
        findings = self._findings
        states: dict[Key, Document | None] = {}
        homes: dict[Key, int] = {}
        for partition, changes in self._changes.items():
            for _, change in sorted(changes.items()):
                data = change["data"]
                key: Key = (change["tenant"], data["consumer_id"], data["relation_id"])
                before, after = _state(data["before"]), _state(data["after"])
                if homes.setdefault(key, partition) != partition:
                    findings.add("changes", change["id"], "partition", homes[key], partition)
                if before != states.get(key):
                    findings.add("changes", change["id"], "before", states.get(key), before)
                states[key] = after
        for key in states.keys() | self._expected.facts.keys():
            wanted = _state(self._expected.facts.get(key))
            if states.get(key) != wanted:
                findings.add("changes", ":".join(key), "last after", wanted, states.get(key))
        findings.found["changes"] = self.changes
        return findings


def _state(fact: Document | None) -> Document | None:
    """A fact as changes show it, its time in milliseconds since 1970."""
    if fact is None:
        return None
    state: dict[str, Any] = {name: fact[name] for name in PUBLISHED if fact.get(name) is not None}
    if isinstance(state["time"], str):
        state["time"] = to_milliseconds(datetime.fromisoformat(state["time"]))
    return state
