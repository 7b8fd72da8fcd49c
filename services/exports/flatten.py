"""Stored documents as flat rows. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from shared.contracts.events import EPOCH
from shared.contracts.fact_fields import FACT_FIELDS, FactField
from shared.contracts.money import Money, add_stored, amounts_of
from shared.erasure.records import cause_of
from shared.runtime.protocols import Document

#: The prefix of a sealed value (shared/vault). A value that was not decrypted is not shown.
SEALED = "kith1."


def name_within_tenant(id: str) -> str:
    """``ada:cafe-lumen`` of ``default:ada:cafe-lumen``. A tenant's name contains no colon."""
    return id.partition(":")[2]


def relation(fact: Document) -> Document:
    version, cause = fact["version"], cause_of(fact)
    return {
        "id": name_within_tenant(fact["_id"]),
        "relation_id": fact["relation_id"],
        "consumer_id": fact["consumer_id"],
        **{field.name: _value(field, fact) for field in FACT_FIELDS if field.column and not field.personal},
        "event_source": cause["source"],
        "event_id": cause["id"],
        "event_time": EPOCH + timedelta(microseconds=version["time"]),
        **{field.name: _value(field, fact) for field in FACT_FIELDS if field.column and field.personal},
    }


def _value(field: FactField, fact: Document) -> Any:
    value = fact.get(field.name)
    if field.personal:
        return _open(value)
    return _json(value) if field.column == "json" else value


def relationship(document: Document) -> Document:
    amounts: dict[str, int] = {}
    rating_count = rating_sum = 0
    counts: dict[str, int] = {}
    if "sums" in document:  # of many kinds and months, which are in documents of their own
        sums = document["sums"]
        amounts, rating_count = dict(sums.get("amount", {})), sums.get("rating_count", 0)
        rating_sum = sums.get("rating_sum", 0)
    for kind, months in document.get("kinds", {}).items():
        counts[kind] = 0
        for cell in months.values():
            counts[kind] += cell["count"]
            rating_count += cell.get("rating_count", 0)
            rating_sum += cell.get("rating_sum", 0)
            for currency, amount in cell.get("amount", {}).items():
                amounts[currency] = amounts.get(currency, 0) + amount
    return {
        "id": name_within_tenant(document["_id"]),
        "consumer_id": document["consumer_id"],
        "provider_id": document["provider_id"],
        "count": document["count"],
        "first": document["first"],
        "last": document["last"],
        "score": document["score"],
        **_money(amounts),
        "rating_count": rating_count,
        "rating_sum": rating_sum,
        "kinds": _json(counts),
    }


def consumer(document: Document) -> Document:
    return {
        "id": name_within_tenant(document["_id"]),
        "consumer_id": document["consumer_id"],
        **_place(document.get("location") or {}),
        "traits": _json(document.get("traits")),
        "consent": _json(document.get("consent")),
        "erased": document.get("erased"),
        "personal": _json(
            {name: value for name, value in (document.get("personal") or {}).items() if _open(value) is not None}
        ),
    }


def provider(document: Document) -> Document:
    return {
        "id": name_within_tenant(document["_id"]),
        "provider_id": document["provider_id"],
        "name": document.get("name"),
        "categories": document.get("categories"),
        "closed": document["closed"],
        **_place(document.get("location") or {}),
        "traits": _json(document.get("traits")),
    }


def aggregate(sums: Document) -> Document:
    by, key = sums["by"], sums["key"]
    return {
        "id": f"{by}:{sums['day']}:{key}",
        "by": by,
        "key": key,
        "day": date.fromisoformat(sums["day"]),
        "count": sums["count"],
        **_money(sums["amount"]),
        "rating_count": sums["rating_count"],
        "rating_sum": sums["rating_sum"],
        # Distinct consumers are kept for these two only.
        "consumers": sums["consumers"] if by in ("total", "provider") else None,
    }


def added_up(partials: Iterable[Document]) -> Iterator[Document]:
    """Adds up the partial sums of partitions. Those of a ``by``, day and key must be adjacent. Sums that cancel
    out between partitions are left out."""
    for (by, day, key), group in groupby(partials, key=itemgetter("by", "day", "key")):
        count = rating_count = rating_sum = consumers = 0
        money: Money = {}
        for partial in group:
            count += partial["count"]
            rating_count += partial.get("rating_count", 0)
            rating_sum += partial.get("rating_sum", 0)
            consumers += partial.get("consumers", 0)
            add_stored(money, partial)
        amounts = amounts_of(money)
        if count or rating_count or rating_sum or consumers or amounts:
            yield {
                "by": by,
                "day": day,
                "key": key,
                "count": count,
                "amount": amounts,
                "rating_count": rating_count,
                "rating_sum": rating_sum,
                "consumers": consumers,
            }


def _money(amounts: Mapping[str, int]) -> Document:
    """Sums by currency: all of them as JSON, and as numbers if there is only one currency. A sum of 0 is kept:
    orders and refunds that cancel out differ from no money."""
    amounts = {currency: amounts[currency] for currency in sorted(amounts)}
    currency, amount = next(iter(amounts.items())) if len(amounts) == 1 else (None, None)
    return {"currency": currency, "amount": amount, "amounts": _json(amounts)}


def _place(location: Mapping[str, Any]) -> Document:
    lat, lon = location.get("lat"), location.get("lon")
    return {
        "country": location.get("country"),
        "region": location.get("region"),
        "city": _open(location.get("city")),
        "lat": float(lat) if isinstance(lat, int | float) else None,
        "lon": float(lon) if isinstance(lon, int | float) else None,
    }


def _open(value: Any) -> Any:
    return None if isinstance(value, str) and value.startswith(SEALED) else value


def _json(value: Mapping[str, Any] | None) -> str | None:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else None
