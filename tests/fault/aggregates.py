"""What a set of changes adds up to: aggregates and presence, naively and without order."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]
Key = tuple[str, ...]
Sums = dict[Key, Any]

_SUMS = ("count", "amount", "rating_count", "rating_sum", "consumers")


def expected_sums(changes: Iterable[Document]) -> tuple[Sums, Sums]:
    """The aggregates by (tenant, by, key, day) and the presence counts by (tenant, day, provider, consumer) of
    these changes, each taken once. Zeros are left out."""
    # A state that comes and goes cancels out, in either order: so parts of a log add up, too.
    states: Counter[tuple[str, str, str]] = Counter()
    for change in changes:
        data = change["data"]
        for state, sign in ((data["before"], -1), (data["after"], 1)):
            if state is not None:
                states[change["tenant"], data["consumer_id"], json.dumps(state, sort_keys=True)] += sign
    aggregates: Sums = defaultdict(dict)
    presence: Counter[Key] = Counter()
    for (tenant, consumer, text), times in states.items():
        state = json.loads(text)
        moment = datetime.fromisoformat(state["time"]).astimezone(UTC)
        day, hour = moment.strftime("%Y-%m-%d"), moment.strftime("%H")
        provider, kind = state["provider_id"], state["kind"]
        sums = _contribution(state, times)
        for by, key in (
            ("total", ""),
            ("kind", kind),
            ("provider", provider),
            ("consumer", consumer),
            ("provider_kind", f"{provider}:{kind}"),
        ):
            add(aggregates[tenant, by, key, day], {**sums, "hours": {hour: sums}})
        presence[tenant, day, "", consumer] += times
        presence[tenant, day, provider, consumer] += times
    for (tenant, day, provider, _), count in presence.items():
        if count > 0:
            by = "provider" if provider else "total"
            add(aggregates[tenant, by, provider, day], {"consumers": 1})
    return _nonzero(aggregates), {key: count for key, count in presence.items() if count}


def stored_aggregates(documents: Iterable[Document]) -> Sums:
    """The same of stored partial documents."""
    found: Sums = defaultdict(dict)
    for document in documents:
        key = (document["tenant"], document["by"], document["key"], document["day"])
        hours = {hour: _numbered(sums) for hour, sums in document["hours"].items()}
        add(found[key], {**_numbered(document), "hours": hours})
    return _nonzero(found)


def _numbered(stored: Document) -> Document:
    """The sums of a stored document or hour, with the number of facts of each currency that it has a sum of. A
    number that is not stored is the count."""
    sums = {name: stored[name] for name in _SUMS if name in stored}
    numbers = stored.get("amount_count", {})
    assert numbers.keys() <= sums.get("amount", {}).keys(), "a number of facts without their sum"
    sums["number"] = {each: numbers.get(each, stored.get("count", 0)) for each in sums.get("amount", ())}
    return sums


def stored_presence(documents: Iterable[Document]) -> Sums:
    return {
        (each["tenant"], each["day"], each.get("provider_id", ""), each["consumer_id"]): each["count"]
        for each in documents
    }


def add(total: Document, part: Mapping[str, Any]) -> None:
    """Add numbers, and numbers within maps."""
    for name, value in part.items():
        if isinstance(value, Mapping):
            add(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


def _contribution(state: Document, times: int) -> Document:
    sums: Document = {"count": times}
    if "amount" in state:
        sums["amount"] = {state["currency"]: times * state["amount"]}
        sums["number"] = {state["currency"]: times}
    if "rating" in state:
        sums["rating_count"] = times
        sums["rating_sum"] = times * state["rating"]
    return sums


def _nonzero(found: Mapping[Any, Any]) -> dict[Any, Any]:
    cleaned = {name: _nonzero(value) if isinstance(value, Mapping) else value for name, value in found.items()}
    return {name: value for name, value in cleaned.items() if value}
