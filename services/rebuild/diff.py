"""Compares two versions document by document, and explains the differences."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bson import decode
from bson.codec_options import CodecOptions

from services.relations.fact_documents import without_digest
from services.relations.registers import PARTS, canonical, versions_of
from services.relations.strength import Strength
from shared.contracts.events import EPOCH, Version
from shared.runtime.protocols import Document

MOST_EXAMPLES = 5
_MOST_FIELDS = 10
#: Fields that may be personal: a difference is reported without the values.
HIDDEN = ("personal", "location", "traits", "name", "text", "reason")

_AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True)


@dataclass
class Example:
    """A document that differs. ``fields`` is name → (live, other), None for an absent field; empty if one version
    lacks the whole document."""

    id: str
    why: str
    fields: dict[str, tuple[Any, Any]]


@dataclass
class Comparison:
    """The result of comparing a collection. ``reasons`` counts the documents that differ, by kind of
    difference."""

    compared: int = 0
    only_live: int = 0
    only_other: int = 0
    different: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not (self.only_live or self.only_other or self.different)

    def add(self, one: "Row | None", two: "Row | None", why: "Why") -> None:
        """Count a document, and explain it if it differs."""
        self.compared += 1
        if one is not None and two is not None and one.raw == two.raw:
            return
        live, other = one and one.document(), two and two.document()
        if (
            live is not None
            and other is not None
            and (same(live, other) or same(_canonical(live), _canonical(other)))
        ):
            return
        if other is None:
            self.only_live += 1
        elif live is None:
            self.only_other += 1
        else:
            self.different += 1
        reason, detail = why(live, other)
        self.reasons[reason] += 1
        # A few examples of each kind, so that the rare ones are shown, too.
        if self.reasons[reason] <= MOST_EXAMPLES:
            id = (live or other or {})["_id"]
            fields = differing(live, other) if live and other else {}
            self.examples.append(Example(id, detail, fields))


#: Maps a pair that differs to the kind of difference and a sentence about this pair.
Why = Callable[[Document | None, Document | None], tuple[str, str]]


class Row(NamedTuple):
    """A stored document: its id, and the whole document as bytes."""

    id: bytes
    raw: bytes

    def document(self) -> Document:
        """Without the digest of a fact's event: older facts lack it, and it depends on how the event was written,
        not on its content."""
        return without_digest(decode(self.raw, _AWARE))


def merged(live: Iterable[Row], other: Iterable[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Merge two streams of rows that are sorted by id, as MongoDB sorts text: by its bytes."""
    one, two = iter(live), iter(other)
    left, right = next(one, None), next(two, None)
    while left is not None or right is not None:
        order = 0
        if left is None or right is None:
            order = 1 if left is None else -1
        else:
            order = (left.id > right.id) - (left.id < right.id)
        yield (left if order <= 0 else None, right if order >= 0 else None)
        if order <= 0:
            left = next(one, None)
        if order >= 0:
            right = next(two, None)


def same(one: Any, two: Any) -> bool:
    """Equal in type and value; the order of a document's fields does not matter."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


def differing(live: Document | None, other: Document | None) -> dict[str, tuple[Any, Any]]:
    """The fields in which two documents differ, with both values."""
    one, two = live or {}, other or {}
    return {
        name: (_shown(name, one), _shown(name, two))
        for name in [*one, *(name for name in two if name not in one)]
        if name != "_id" and not (name in one and name in two and same(one[name], two[name]))
    }


def _shown(name: str, document: Document) -> Any:
    return "…" if name in HIDDEN and name in document else document.get(name)


def why(collection: str, live: int, other: int, strength: Strength) -> Why:
    """Explains the differences of a collection between two versions, as far as the documents show the cause."""

    def explain(one: Document | None, two: Document | None) -> tuple[str, str]:
        if two is None:
            return "missing", (
                f"version {other} does not have it: no event in the log makes it, or one takes it back "
                f"that version {live} has not counted{_holds(one)}"
            )
        if one is None:
            return "extra", f"version {live} does not have it, though the log makes it{_holds(two)}"
        if same(_uncounted(one), _uncounted(two)):
            return "currencies", (
                "the same sums; an earlier version of Kith stored one of them without the number of facts by "
                "currency, and without sums of 0"
            )
        if collection == "relations":
            return _of_fact(one, two, live, other)
        if collection == "relationships":
            return _of_relationship(one, two, strength)
        if collection in ("consumers", "providers"):
            return _of_profile(one, two)
        return "sums", f"count {one.get('count', 0)} in version {live}, {two.get('count', 0)} in version {other}"

    return explain


def _of_fact(one: Document, two: Document, live: int, other: int) -> tuple[str, str]:
    a, b = _rank(one), _rank(two)
    if a == b:
        return "same event", (
            f"both hold event {_event(one)}, and store it differently: the document was changed by other means, "
            "or the code that made it was another"
        )
    newer, version = (two, other) if b > a else (one, live)
    return ("newer event" if b > a else "older event"), (
        f"version {live} holds event {_event(one)}, version {other} {_event(two)}; the one of version {version}, "
        f"{_event(newer)}, is the newer one"
    )


def _of_relationship(one: Document, two: Document, strength: Strength) -> tuple[str, str]:
    if one["fingerprint"] != two["fingerprint"]:
        return "other facts", f"it sums up other facts: {one['count']} and {two['count']} of them"
    names = set(differing(one, two))
    if ("kinds" in one) != ("kinds" in two):
        return "cells", (
            "the same facts; in one of them the kinds and months, which are many, are in documents of their own"
        )
    if names and names <= {"score", "mass"}:
        recent = "kinds" in two and same(strength.score(two["kinds"]), two["score"])
        detail = ", which the present settings give to the newer one" if recent else ""
        return "score", f"the same facts, scored by other weights or another half-life{detail}"
    return "same facts", "the same facts, summed up differently: the document was changed by other means"


def _of_profile(one: Document, two: Document) -> tuple[str, str]:
    if ("erased" in one) != ("erased" in two):
        return "erased", "it is erased in one of them"
    a, b = versions_of(one), versions_of(two)
    fields = sorted(field for field in {*a, *b} if a.get(field) != b.get(field))
    if not fields:
        return "same events", "both hold the same events, and store them differently"
    named = ", ".join(fields[:_MOST_FIELDS]) + (
        f" and {more} more" if (more := len(fields) - _MOST_FIELDS) > 0 else ""
    )
    if isinstance(one.get("versions"), Mapping) or isinstance(two.get("versions"), Mapping):
        return "fields", (
            f"{named}: one of them is of an earlier version of Kith, in which a partial profile removed what "
            "others had stated"
        )
    return "other events", f"{named} come from other events"


def _canonical(document: Document) -> Document:
    """A profile as it would be written today, whichever version of Kith wrote it; all else as it is."""
    for collection in PARTS:
        if f"{collection[:-1]}_id" in document and isinstance(document.get("versions"), Mapping):
            return canonical(collection, document)
    return document


def _uncounted(document: Document) -> Document:
    """A document without the numbers of facts by currency, and without sums of 0 by currency."""
    out: Document = {}
    for name, value in document.items():
        if name == "amount" and isinstance(value, Mapping):
            if amounts := {currency: amount for currency, amount in value.items() if amount}:
                out[name] = amounts
        elif name != "amount_count":
            out[name] = _uncounted(dict(value)) if isinstance(value, Mapping) else value
    return out


def _holds(document: Document | None) -> str:
    return f" (event {_event(document)})" if document and isinstance(document.get("version"), Mapping) else ""


def _event(fact: Document) -> str:
    version = fact["version"]
    sequence = f", sequence {version['sequence']}" if "sequence" in version else ""
    return f"{version['source']}/{version['id']} of {_time(version['time'])}{sequence}"


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // 1_000_000 + EPOCH.timestamp(), UTC).isoformat()


def _rank(fact: Document) -> Version:
    return Version.stored(fact["version"])
