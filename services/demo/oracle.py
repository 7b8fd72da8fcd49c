"""The expected documents after a set of events: an independent, naive fold that shares no code with a service.

It keeps the winning event of each fact and profile field, and derives everything else from the remaining facts,
without differences and without an order. Pure.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from unicodedata import normalize

Document = dict[str, Any]
Version = tuple[int, str, str, str]
Key = tuple[str, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST = {"personal": 50, "traits": 100, "consent": 50}
#: What a fact takes from its event, and what of a fact changes contain: lists of the judges' own.
FACT_FIELDS = ("amount", "currency", "rating", "text", "traits")
PUBLISHED = ("provider_id", "kind", "time", "amount", "currency", "rating", "traits")


@dataclass
class Expected:
    """The documents that must be stored, without their ``_id``; times in milliseconds since 1970."""

    tenants: set[str] = field(default_factory=set)
    consumers: dict[Key, Document] = field(default_factory=dict)  # by tenant, consumer_id
    providers: dict[Key, Document] = field(default_factory=dict)  # by tenant, provider_id
    facts: dict[Key, Document] = field(default_factory=dict)  # by tenant, consumer_id, relation_id
    tombstones: dict[Key, Document] = field(default_factory=dict)  # likewise
    relationships: dict[Key, Document] = field(default_factory=dict)  # by tenant, consumer_id, provider_id
    aggregates: dict[Key, Document] = field(default_factory=dict)  # by tenant, by, key, day


class Oracle:
    """Folds accepted events as they arrive; ``expected`` may be called at any time."""

    def __init__(self, pseudonym: Callable[[str, str], str] | None = None, *, ordered: bool = False) -> None:
        """``pseudonym`` returns the pseudonym of a tenant's anonymised consumer, or of their relation.
        ``ordered``: facts are erased only at Kith's own event (``relation.subject_erased``), for folds of a part
        of the log."""
        self.pseudonym = pseudonym or _hashed
        self._orders: dict[Key, str] = {}
        self._ordered = ordered
        self._facts: dict[Key, tuple[Version, bool, Document]] = {}  # version, retracted, data
        self._profiles: dict[str, dict[Key, dict[str, tuple[Version, Any]]]] = {"consumer": {}, "provider": {}}
        self._erased: dict[Key, str] = {}

    def add(self, event: Document) -> None:
        """Fold one accepted CloudEvent. Raises ValueError for an unknown type."""
        tenant, type, data = event.get("tenant", "default"), event["type"], _composed(event["data"])
        name = _composed({"source": event["source"], "id": event["id"]})
        version = (_microseconds(event["time"]), _sequence(event), name["source"], name["id"])
        if type in ("relation.recorded", "relation.retracted"):
            key: Key = (tenant, data["consumer_id"], data["relation_id"])
            if key not in self._facts or version > self._facts[key][0]:
                self._facts[key] = (version, type == "relation.retracted", data)
        elif type == "consumer.upserted":
            self._state("consumer", (tenant, data["consumer_id"]), version, _fields(data))
        elif type == "consumer.erased":
            _erase(self._erased, (tenant, data["consumer_id"]), data["mode"])
        elif type == "relation.subject_erased":
            _erase(self._orders, (tenant, data["consumer_id"]), data["mode"])
        elif type in ("provider.upserted", "provider.closed"):
            closed = {"closed": type == "provider.closed"}
            self._state("provider", (tenant, data["provider_id"]), version, {**_fields(data), **closed})
        else:
            raise ValueError(f"the oracle does not fold {type} {data}")

    def _state(self, whose: str, key: Key, version: Version, fields: Document) -> None:
        known = self._profiles[whose].setdefault(key, {})
        for name, value in fields.items():
            if name not in known or version > known[name][0]:
                known[name] = (version, value)

    def expected(self) -> Expected:
        """The expected documents after the events so far, derived from scratch."""
        result = Expected()
        for key, fields in self._profiles["consumer"].items():
            result.consumers[key] = {"tenant": key[0], "consumer_id": key[1], **_profile(fields)}
        for key, erased in self._erased.items():
            result.consumers[key] = {"tenant": key[0], "consumer_id": key[1], "erased": erased}
        for key, fields in self._profiles["provider"].items():
            result.providers[key] = {"tenant": key[0], "provider_id": key[1], **_profile(fields)}
        for key, (version, retracted, data) in self._facts.items():
            mode = (self._orders if self._ordered else self._erased).get(key[:2])
            if mode == "anonymise":
                key, data = self._anonymous(key, data)
            if mode != "delete":
                (result.tombstones if retracted else result.facts)[key] = _relation(key, version, retracted, data)
        result.relationships = _relationships(result.facts)
        result.aggregates = _aggregates(result.facts)
        for keys in (result.consumers, result.providers, result.facts, result.tombstones):
            result.tenants.update(key[0] for key in keys)
        return result

    def _anonymous(self, key: Key, data: Document) -> tuple[Key, Document]:
        """A fact as if it had always been the pseudonym's, without free texts."""
        tenant, consumer_id, relation_id = key
        # Ids may contain the separator.
        parts = [part.replace("%", "%25").replace(":", "%3A") for part in (consumer_id, relation_id)]
        name = self.pseudonym(tenant, ":".join(["relation", *parts]))
        rest = {name: value for name, value in data.items() if name not in ("text", "reason")}
        return (tenant, self.pseudonym(tenant, consumer_id), name), rest


def _composed(part: Document) -> Document:
    """Ids and sources are the same text in whichever of Unicode's forms."""
    ids = [name for name in part if name in ("id", "source") or name.endswith("_id")]
    return {**part, **{name: normalize("NFC", part[name]) for name in ids if isinstance(part[name], str)}}


def _erase(modes: dict[Key, str], key: Key, mode: str) -> None:
    if modes.get(key) != "delete":
        modes[key] = mode


def _hashed(tenant: str, text: str) -> str:
    return "p-" + blake2b(f"pseudonym\0{tenant}\0{text}".encode(), digest_size=16).hexdigest()


def _fields(data: Document) -> Document:
    """The profile fields that an event states, by path. Null removes a field; a point is one field, (lat, lon)."""
    fields: Document = {name: data[name] for name in ("name", "categories") if name in data}
    for group in ("personal", "traits", "consent", "location"):
        fields |= {f"{group}.{name}": value for name, value in (data.get(group) or {}).items()}
    lat, lon = fields.pop("location.lat", ...), fields.pop("location.lon", ...)
    if (lat, lon) != (..., ...):
        fields["location.point"] = None if lat in (None, ...) else (lat, lon)
    return fields


def _profile(fields: dict[str, tuple[Version, Any]]) -> Document:
    """The fields of each group that were stated latest, up to its limit. Removed ones count."""
    kept = dict(fields)
    for group, most in _MOST.items():
        latest = sorted((version, name) for name, (version, _) in fields.items() if name.split(".")[0] == group)
        for _, name in latest[: max(0, len(latest) - most)]:
            del kept[name]
    document: Document = {}
    names: dict[Version, list[str]] = defaultdict(list)
    for name, (version, value) in kept.items():
        names[version].append(name)
        if value is None:
            continue
        group, _, own = name.partition(".")
        if name == "location.point":
            document.setdefault("location", {}).update(lat=value[0], lon=value[1])
        elif own:
            document.setdefault(group, {})[own] = value
        else:
            document[name] = value
    document["versions"] = [{**_version(each), "fields": sorted(names[each])} for each in sorted(names)]
    return document


def _relation(key: Key, version: Version, retracted: bool, data: Document) -> Document:
    tenant, consumer_id, relation_id = key
    document: Document = {"tenant": tenant, "relation_id": relation_id, "consumer_id": consumer_id}
    if retracted:
        optional: tuple[str, ...] = ("provider_id", "reason")
        document["retracted"] = True
    else:
        optional = FACT_FIELDS
        document["provider_id"], document["kind"] = data["provider_id"], data["kind"]
        occurred_at = data.get("occurred_at")
        document["time"] = (_microseconds(occurred_at) if occurred_at else version[0]) // 1000
        document["retracted"] = False
    document.update({name: data[name] for name in optional if data.get(name) is not None})
    document["version"] = _version(version)
    return document


def _relationships(facts: dict[Key, Document]) -> dict[Key, Document]:
    pairs: dict[Key, list[Document]] = defaultdict(list)
    for fact in facts.values():
        pairs[fact["tenant"], fact["consumer_id"], fact["provider_id"]].append(fact)
    return {
        pair: {
            **dict(zip(("tenant", "consumer_id", "provider_id"), pair, strict=True)),
            "count": len(members),
            **_times(sorted(fact["time"] for fact in members)),
            "kinds": {
                kind: {month: sums(these) for month, these in _by(of_kind, "%Y-%m").items()}
                for kind, of_kind in _by_kind(members).items()
            },
        }
        for pair, members in pairs.items()
    }


def _times(times: list[int]) -> Document:
    document: Document = {"first": times[0], "last": times[-1]}
    if 2 < len(times) <= 16:
        document["between"] = times[1:-1]
    return document


def _aggregates(facts: dict[Key, Document]) -> dict[Key, Document]:
    groups: dict[Key, list[Document]] = defaultdict(list)
    for fact in facts.values():
        tenant, kind, provider_id = fact["tenant"], fact["kind"], fact["provider_id"]
        groups[tenant, "total", ""].append(fact)
        groups[tenant, "kind", kind].append(fact)
        groups[tenant, "provider", provider_id].append(fact)
        groups[tenant, "consumer", fact["consumer_id"]].append(fact)
        groups[tenant, "provider_kind", f"{provider_id}:{kind}"].append(fact)
    result: dict[Key, Document] = {}
    for (tenant, by, key), members in groups.items():
        for day, these in _by(members, "%Y-%m-%d").items():
            document = sums(these)
            if by in ("total", "provider"):
                document["consumers"] = len({fact["consumer_id"] for fact in these})
            document["hours"] = {hour: sums(those) for hour, those in _by(these, "%H").items()}
            result[tenant, by, key, day] = document
    return result


def sums(facts: list[Document]) -> Document:
    """``count``, ``amount`` and ``amount_count`` by currency, ``rating_count`` and ``rating_sum``. A currency has
    a sum if any fact has it, and a number of facts if not every fact has it; other zeros are left out."""
    amounts: dict[str, list[int]] = defaultdict(list)
    ratings = [fact["rating"] for fact in facts if "rating" in fact]
    for fact in facts:
        if "amount" in fact:
            amounts[fact["currency"]].append(fact["amount"])
    result: Document = {"count": len(facts)}
    if amounts:
        result["amount"] = {currency: sum(own) for currency, own in amounts.items()}
    if some := {currency: len(own) for currency, own in amounts.items() if len(own) < len(facts)}:
        result["amount_count"] = some
    if ratings:
        result["rating_count"] = len(ratings)
    if any(ratings):
        result["rating_sum"] = sum(ratings)
    return result


def _by(facts: list[Document], pattern: str) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = defaultdict(list)
    for fact in facts:
        groups[(_EPOCH + timedelta(milliseconds=fact["time"])).strftime(pattern)].append(fact)
    return groups


def _by_kind(facts: list[Document]) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = defaultdict(list)
    for fact in facts:
        groups[fact["kind"]].append(fact)
    return groups


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def _sequence(event: Document) -> str:
    """The order of events of one time, as text: an absent sequence comes first, numbers get 19 digits."""
    text: str = event.get("sequence") or ""
    return text.rjust(19, "0")[-19:] if text and event.get("sequencetype") == "Integer" else text


def _version(version: Version) -> Document:
    named = dict(zip(("time", "sequence", "source", "id"), version, strict=True))
    return {name: value for name, value in named.items() if value != ""}
