"""A list that was shown, as it is stored, and which of it was followed by a relation. Pure.

A list counts once per day, node asked about and model, however often it was asked for: its id follows from these.
Whether it is recorded follows from the same and the share, so every process decides alike.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.intelligence.consented import purpose_for
from services.intelligence.engine.question import Side, other
from shared.contracts.events import document_id
from shared.runtime.protocols import Document

#: (consumer, provider) → the time of the first relation of the pair that counts
Followed = Mapping[tuple[str, str], datetime]


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded, and for how long.

    ``share`` is the part of the lists (0 to 1), ``window`` how long after it a relation counts, ``keep`` how long
    after the window a list is kept: for so long, late events count. Each of ``purposes`` is tenant → a purpose of
    consent that its recording needs, ``*`` for all others.
    """

    share: float
    window: timedelta
    keep: timedelta
    purposes: Sequence[Mapping[str, str]] = ()

    def purposes_of(self, tenant: str) -> list[str]:
        """All that the recording of a tenant's lists needs."""
        found = {purpose_for(each, tenant) for each in self.purposes}
        return sorted(purpose for purpose in found if purpose is not None)

    def list_of(
        self, tenant: str, side: Side, id: str, answer: Mapping[str, Any], at: datetime
    ) -> Document | None:
        """The document of an answer of recommendations to a question about a node, shown at ``at`` (aware). None:
        it is not recorded, because it is not in the share or has no items."""
        if not self.share or not answer["items"]:
            return None
        as_of = answer["as_of"]
        key = document_id(tenant, side, id, f"{at.astimezone(UTC):%Y-%m-%d}", as_of["model"])
        if not _drawn(key, self.share):
            return None
        far = other(side)
        items = [{"id": e[f"{far}_id"], "rank": e["rank"], "score": float(e["score"])} for e in answer["items"]]
        return {
            "_id": key,
            "tenant": tenant,
            "side": side,
            "id": id,
            "model": as_of["model"],
            "at": at,
            "until": at + self.window,
            "expires": at + self.window + self.keep,
            "as_of": {
                "positions": [{"origin": o, "number": number} for o, number in as_of["positions"].items()],
                **{name: as_of[name] for name in ("month", "half_life_months", "beta")},
            },
            "consumers": [id] if side == "consumer" else [each["id"] for each in items],
            "items": items,
            "revision": 0,
        }


def pairs_of(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(consumer, provider) of each item of a stored list."""
    if shown["side"] == "consumer":
        return [(shown["id"], each["id"]) for each in shown["items"]]
    return [(each["id"], shown["id"]) for each in shown["items"]]


def with_followed(shown: Mapping[str, Any], followed: Followed) -> list[Document] | None:
    """The items of a stored list with the times in ``followed``; None where they have these already."""
    items = []
    for pair, each in zip(pairs_of(shown), shown["items"], strict=True):
        item = {name: value for name, value in each.items() if name != "followed"}
        if pair in followed:
            item["followed"] = followed[pair]
        items.append(item)
    return None if items == shown["items"] else items


def limited_to(shown: Document, consumers: Iterable[str]) -> Document | None:
    """The list with these consumers only; None if nobody is left."""
    kept = set(consumers)
    if shown["side"] == "consumer":
        return shown if shown["id"] in kept else None
    items = [each for each in shown["items"] if each["id"] in kept]
    return {**shown, "items": items, "consumers": [each["id"] for each in items]} if items else None


def _drawn(key: str, share: float) -> bool:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) < share * 2**64
