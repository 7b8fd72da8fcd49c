"""Compares what is stored in MongoDB with what the oracle expects, field by field."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from pymongo.database import Database

from services.demo.oracle import Document, Expected, Key
from shared.mongo.limits import STREAM_MS
from shared.vault.keys import Vault
from shared.vault.sealing import opener

#: How many differences are kept as examples; all are counted.
MOST_SHOWN = 50
_BATCH = 5_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUMS = ("count", "rating_count", "rating_sum")
_AMONG = {  # collection → the fields that name a document
    "consumers": ("tenant", "consumer_id"),
    "providers": ("tenant", "provider_id"),
    "relations": ("tenant", "consumer_id", "relation_id"),
    "relationships": ("tenant", "consumer_id", "provider_id"),
}
# The score is checked against the sums; the fingerprint only guards writes.
_CELLS = "relationship_cells"
_HEAD = ("cells", "sums", "mass")
_OWN = ("_id", "fingerprint", "score", "blind")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. ``field`` is empty when the whole document is missing (``stored`` None) or should not exist
    (``expected`` None)."""

    collection: str
    id: str
    field: str
    expected: Any
    stored: Any

    def __str__(self) -> str:
        what = f"{self.collection} {self.id}" + (f", {self.field}" if self.field else "")
        return f"{what}: expected {_brief(self.expected)}, found {_brief(self.stored)}"


@dataclass(slots=True)
class Findings:
    """The first differences, how many there are in all, and how many documents were found per collection."""

    differences: list[Difference] = field(default_factory=list)
    total: int = 0
    found: dict[str, int] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        return self.total == 0

    def add(self, collection: str, id: str, field: str, expected: Any, stored: Any) -> None:
        self.total += 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(Difference(collection, id, field, expected, stored))

    def fields(self, collection: str, id: str, expected: Document, stored: Document) -> None:
        """Add a difference for every field that differs."""
        for name in sorted(expected.keys() | stored.keys()):
            if expected.get(name) != stored.get(name):
                self.add(collection, id, name, expected.get(name), stored.get(name))


@dataclass(frozen=True, slots=True)
class Weights:
    """The settings for checking scores: the weight of a relation by kind (others 1) and the half-life."""

    kinds: Mapping[str, float]
    half_life_months: float


def compare(
    expected: Expected, database: Database[Document], weights: Weights | None = None, vault: Vault | None = None
) -> Findings:
    """Read the five collections for the expected tenants and compare; ``vault`` decrypts sealed values. Raises
    PyMongoError, and Unavailable."""
    of_tenants = {"tenant": {"$in": sorted(expected.tenants)}}
    stored: dict[str, Iterable[Document]] = {
        name: database[name].find(of_tenants, max_time_ms=STREAM_MS) for name in (*_AMONG, _CELLS, "aggregates")
    }
    if vault is not None:
        for name in ("consumers", "relations"):
            stored[name] = _opened(stored[name], vault)
    return compare_documents(expected, stored, weights)


def _opened(documents: Iterable[Document], vault: Vault) -> Iterator[Document]:
    opened, remaining = opener(vault), iter(documents)
    while batch := list(islice(remaining, _BATCH)):
        for tenant, group in groupby(sorted(batch, key=itemgetter("tenant")), key=itemgetter("tenant")):
            for document, unreadable in opened(tenant, group):
                # A value that cannot be decrypted is a difference, and not an absent value.
                yield {**document, "unreadable": unreadable} if unreadable else document


def compare_documents(
    expected: Expected, stored: Mapping[str, Iterable[Document]], weights: Weights | None = None
) -> Findings:
    """The same on documents as MongoDB gives them, by collection; each is read once."""
    findings = Findings()
    stored = {**stored, "relationships": _joined(stored["relationships"], stored.get(_CELLS, ()), findings)}
    relations = {**expected.facts, **expected.tombstones}
    tally = _Tally(weights)
    for name, wanted in (
        ("consumers", expected.consumers),
        ("providers", expected.providers),
        ("relations", relations),
        ("relationships", expected.relationships),
    ):
        _compare(findings, name, wanted, stored[name], tally)
    _compare_aggregates(findings, expected.aggregates, stored["aggregates"], tally)
    tally.check(findings)
    findings.found["facts"] = tally.facts
    return findings


def _joined(
    relationships: Iterable[Document], cells: Iterable[Document], findings: Findings
) -> Iterator[Document]:
    """Relationships with all of their kinds: of many, they are in documents of their own."""
    kinds: dict[str, Document] = {}
    for document in cells:
        # The id ends with kind and year, which contain no colon.
        of_pair = kinds.setdefault(document["_id"].rsplit(":", 2)[0], {})
        months = of_pair.setdefault(document["kind"], {})
        months.update({f"{document['year']}-{month}": cell for month, cell in document["months"].items()})
    for document in relationships:
        own = kinds.pop(document["_id"], None)
        if own is None:
            yield document
            continue
        number = sum(len(months) for months in own.values())
        if document.get("cells") != number:
            findings.add("relationships", document["_id"], "cells", number, document.get("cells"))
        total: Document = {}
        for each in (cell for months in own.values() for cell in months.values()):
            _add(total, each, _SUMS)
        if (found := _sums(document.get("sums", {}))) != _added(total):
            findings.add("relationships", document["_id"], "sums", _added(total), found)
        yield {name: value for name, value in document.items() if name not in _HEAD} | {"kinds": own}
    for id, unowned in kinds.items():
        findings.add(_CELLS, id, "", None, unowned)


class _Tally:
    """Adds up the stored documents and checks them against each other: every sum must count the live facts, and
    every score must be log2 of the decayed weighted counts, for any month that it refers to."""

    def __init__(self, weights: Weights | None) -> None:
        self._weights = weights
        self._landmark: float | None = None
        self.facts = 0
        self.sums: dict[str, int] = {}

    def take(self, findings: Findings, collection: str, id: str, document: Document) -> None:
        if collection == "relations" and not document.get("retracted"):
            self.facts += 1
        if collection == "relationships":
            self.add("relationships", document.get("count", 0))
            if self._weights is not None:
                self._score(findings, id, document, self._weights)

    def add(self, what: str, count: int) -> None:
        self.sums[what] = self.sums.get(what, 0) + count

    def check(self, findings: Findings) -> None:
        for what, total in self.sums.items():
            if total != self.facts:
                findings.add(what, "all", "Σ count", self.facts, total)

    def _score(self, findings: Findings, id: str, document: Document, weights: Weights) -> None:
        months = [
            (int(month[:4]) * 12 + int(month[5:]), weights.kinds.get(kind, 1.0) * cell["count"])
            for kind, cells in document["kinds"].items()
            for month, cell in cells.items()
        ]
        if sum(weight for _, weight in months) <= 0:
            return  # nothing to take a logarithm of
        latest = max(month for month, _ in months)
        weighed = math.log2(sum(w * 2 ** ((month - latest) / weights.half_life_months) for month, w in months))
        landmark = weighed + latest / weights.half_life_months - document["score"]
        if self._landmark is None:
            self._landmark = landmark
        elif not math.isclose(landmark, self._landmark, abs_tol=1e-9):
            score = document["score"]
            findings.add("relationships", id, "score", score + landmark - self._landmark, score)


def _compare(
    findings: Findings, name: str, expected: Mapping[Key, Document], stored: Iterable[Document], tally: _Tally
) -> None:
    seen: set[Key] = set()
    for raw in stored:
        key = tuple(raw[part] for part in _AMONG[name])
        id = ":".join(key)
        tally.take(findings, name, id, raw)
        document = {field: _plain(value) for field, value in raw.items() if field not in _OWN}
        if name == "relations":
            # The digest is of an event's bytes, which the oracle does not know.
            document["version"] = {part: v for part, v in document["version"].items() if part != "digest"}
        if name == "relationships":
            document["kinds"] = {
                kind: {month: _sums(cell) for month, cell in months.items()}
                for kind, months in document["kinds"].items()
            }
        if "erased" in document and not document.get("versions", True):
            del document["versions"]  # of consumers erased by an earlier version of Kith
        if key in seen or key not in expected:
            findings.add(name, id, "", None, document)
        else:
            findings.fields(name, id, expected[key], document)
        seen.add(key)
    findings.found[name] = len(seen)
    for key in expected.keys() - seen:
        findings.add(name, ":".join(key), "", expected[key], None)


def _compare_aggregates(
    findings: Findings, expected: Mapping[Key, Document], stored: Iterable[Document], tally: _Tally
) -> None:
    found: dict[Key, Document] = {}
    for raw in stored:
        key: Key = (raw["tenant"], raw["by"], raw["key"], raw["day"])
        tally.add(f"aggregates by {raw['by']}", raw["count"])
        total = found.setdefault(key, {"hours": {}})
        _add(total, raw, ("consumers", *_SUMS))
        for hour, cell in raw["hours"].items():
            _add(total["hours"].setdefault(hour, {}), cell, _SUMS)
    sums = {key: document for key, raw in found.items() if (document := _day(raw))}
    findings.found["aggregates"] = len(sums)
    for key in expected.keys() | sums.keys():
        id = ":".join(key)
        if key not in sums or key not in expected:
            findings.add("aggregates", id, "", expected.get(key), sums.get(key))
        else:
            findings.fields("aggregates", id, expected[key], sums[key])


def _add(total: Document, part: Document, names: Iterable[str]) -> None:
    """Partial sums of several partitions add up; amounts do so by currency."""
    for name in names:
        total[name] = total.get(name, 0) + part.get(name, 0)
    amounts, counts = total.setdefault("amount", {}), total.setdefault("facts", {})
    for currency, amount in part.get("amount", {}).items():
        amounts[currency] = amounts.get(currency, 0) + amount
        # A currency without a number of facts of its own is that of all facts.
        number = part.get("amount_count", {}).get(currency, part.get("count", 0))
        counts[currency] = counts.get(currency, 0) + number


def _day(total: Document) -> Document:
    hours = {hour: sums for hour, cell in total["hours"].items() if (sums := _added(cell))}
    return _added(total) | ({"hours": hours} if hours else {})


def _added(total: Document) -> Document:
    """Sums that were added up, as the oracle gives them: of the currencies that have facts or a remainder."""
    counts: Document = total.get("facts", {})
    amounts = {c: amount for c, amount in total.get("amount", {}).items() if amount or counts[c]}
    some = {c: counts[c] for c in amounts if counts[c] != total.get("count", 0)}
    return _sums({**total, "facts": None, "hours": None, "amount": amounts, "amount_count": some})


def _sums(cell: Document) -> Document:
    """Sums without what says nothing: a sum of 0 says something only of a currency."""
    return {name: value for name, value in cell.items() if value}


def to_milliseconds(time: datetime) -> int:
    """Milliseconds since 1970, truncated; a time without offset, as MongoDB returns it, is in UTC."""
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return to_milliseconds(value) if isinstance(value, datetime) else value


def _brief(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 160 else text[:159] + "…"
