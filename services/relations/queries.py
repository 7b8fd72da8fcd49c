"""Reads of the relations service."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from services.relations import answers
from services.relations.cache import QueryCache
from services.relations.pair_queries import EVIDENCE, PairQueries
from services.relations.strength import Strength
from services.relations.wide import MOST_CELLS, is_wide
from shared.contracts.events import EPOCH, document_id
from shared.erasure.records import cause_of
from shared.http.parameters import BadParameter
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: The most documents of one read on the way to those of consumers who have granted a purpose.
_MOST_READ = 4_000

TOO_WIDE = f"the relationship has more than {MOST_CELLS:,} kinds and months"


#: Where a page begins: values of the item before it.
Place = Sequence[Any]
#: Reads relationships: tenant, side, id, at most so many, after a score and an id.
Lists = Callable[[str, str, str, int, tuple[float, str] | None], list[Document]]


class BadPlace(BadParameter):
    """The place is none of this list."""

    def __init__(self) -> None:
        super().__init__("cursor", "is not a value of next from this query")


class Queries:
    """Reads of one database. Every method raises Unavailable when MongoDB is unavailable."""

    def __init__(
        self,
        database: Database[Document],
        strength: Strength,
        cache: QueryCache,
        names: Callable[[str], str] = str,
        lists: Lists | None = None,
    ) -> None:
        """``names`` returns the present full name of a collection. ``lists`` reads the lists of relationships
        elsewhere, where the same documents are."""
        self._database = database
        self._names = names
        self._strength = strength
        self._cache = cache
        self._pairs = PairQueries(database, names)
        self._lists = lists or self._list

    def profile(self, collection: str, tenant: str, id: str) -> Document | None:
        """A consumer (``collection`` "consumers") or provider; None if it is unknown."""
        key = (collection, tenant, id)
        found: Document | None = self._cache.get(
            key, [key], lambda: self._one(collection, document_id(tenant, id))
        )
        return answers.public(found) if found else None

    def granted(self, tenant: str, consumer_id: str, purpose: str | None) -> bool:
        """Whether a consumer has granted the purpose. Unknown ones have not. Without a purpose, True."""
        return purpose is None or bool(self._granted(tenant, [{"consumer_id": consumer_id}], purpose))

    def consumers(self, tenant: str, field: str, word: str, limit: int, purpose: str | None = None) -> Document:
        """The consumers whose blind index of ``field`` (email or phone) is ``word``, by id: with a purpose, only
        those who have granted it."""
        wanted: Document = {"tenant": tenant, f"blind.{field}": word}
        if purpose is not None:
            wanted[f"consent.{purpose}"] = True
        found = self._many("consumers", wanted, [("_id", 1)], limit)
        return {"items": [answers.public(document) for document in found]}

    def relations(
        self,
        tenant: str,
        consumer_id: str | None,
        provider_id: str | None,
        kind: str | None,
        limit: int,
        after: Place | None = None,
        purpose: str | None = None,
    ) -> Document:
        """The live facts of a consumer, of a provider or of both, latest first, after a place: with a purpose, as
        if there were no facts but those of consumers who have granted it. ``next`` is the place after which the
        next page begins, None at the end. Raises BadPlace."""
        wanted: Document = {"tenant": tenant, "retracted": False}
        for name, value in (("consumer_id", consumer_id), ("provider_id", provider_id), ("kind", kind)):
            if value is not None:
                wanted[name] = value

        def read(after: Place | None, size: int) -> list[Document]:
            return self._many("relations", _facts_after(wanted, after), [("time", -1), ("_id", -1)], size)

        found = self._listed(tenant, read, _place_of_fact, limit + 1, after, purpose, consumer_id)
        items, more = found[:limit], len(found) > limit
        return {
            "items": [answers.relation(fact) for fact in items],
            "next": _place_of_fact(items[-1]) if more else None,
        }

    def consenting(self, tenant: str, page: Document, purpose: str | None) -> Document:
        """Drops items of consumers who have not consented to ``purpose``. Unknown consumers and pseudonyms count
        as not consenting. ``left_out`` is true if any were dropped. Without a purpose, the page as it is."""
        if purpose is None:
            return page
        items = self._granted(tenant, page["items"], purpose)
        return {**page, "items": items, "left_out": len(items) < len(page["items"])}

    def _granted(self, tenant: str, documents: Sequence[Document], purpose: str) -> list[Document]:
        ids = {document_id(tenant, each["consumer_id"]) for each in documents}
        wanted = {"_id": {"$in": list(ids)}, f"consent.{purpose}": True}
        with translated():
            found = self._database[self._names("consumers")].find(wanted, {"consumer_id": 1})
            granted = {each["consumer_id"] for each in found}
        return [each for each in documents if each["consumer_id"] in granted]

    def _listed(
        self,
        tenant: str,
        read: Callable[[Place | None, int], list[Document]],
        place: Callable[[Document], Place],
        most: int,
        after: Place | None,
        purpose: str | None,
        consumer_id: str | None,
    ) -> list[Document]:
        """The first ``most`` documents after a place that ``read`` finds, which takes a place and a number: with
        a purpose, those of consumers who have granted it. ``consumer_id``: whose all of them are, if one's."""
        if purpose is None:
            return read(after, most)
        if consumer_id is not None:
            return read(after, most) if self.granted(tenant, consumer_id, purpose) else []
        kept: list[Document] = []
        size = most
        while True:
            found = read(after, size)
            kept += self._granted(tenant, found, purpose)
            if len(kept) >= most or len(found) < size:
                return kept[:most]
            after, size = place(found[-1]), min(2 * size, _MOST_READ)

    def relationships(
        self,
        tenant: str,
        side: str,
        id: str,
        limit: int,
        after: Place | None,
        now: datetime,
        purpose: str | None = None,
    ) -> Document:
        """The relationships of a consumer (``side`` "consumer_id") or provider, strongest first, after
        a place, and for a purpose, as in ``relations``. Raises BadPlace."""

        def read(after: Place | None, size: int) -> list[Document]:
            return self._lists(tenant, side, id, size, _score_and_id(after))

        found: list[Document]
        if purpose is None:
            found = self._cache.get(
                ("relationships", tenant, side, id, limit, None if after is None else tuple(after)),
                [(side, tenant, id)],
                lambda: read(after, limit + 1),
            )
        else:
            # Not from memory: a consent that is withdrawn counts at once.
            whose = id if side == "consumer_id" else None
            found = self._listed(tenant, read, _place_of_relationship, limit + 1, after, purpose, whose)
        items, more = found[:limit], len(found) > limit
        return {
            "items": [answers.summary(document, self._strength, now) for document in items],
            "next": _place_of_relationship(items[-1]) if more else None,
        }

    def relationship(
        self, tenant: str, consumer_id: str, provider_id: str, now: datetime, strength: Strength | None = None
    ) -> Document | None:
        """One relationship, explained as of ``now``; None when there are no relations between the two.

        ``strength`` replaces the configured weights and half-life. Raises BadParameter where only the configured
        ones are known: of a wide relationship.
        """
        key = ("relationship", tenant, consumer_id, provider_id)
        used = strength or self._strength

        def load() -> tuple[Document, list[Document]] | None:
            document = self._pairs.relationship(tenant, consumer_id, provider_id)
            return None if document is None else (document, self._pairs.evidence(document, used))

        if (found := self._cache.get((*key, used.half_life), [key], load)) is None:
            return None
        document, recent = found
        if strength is not None and is_wide(document):
            raise BadParameter("half_life_months", f"cannot be chosen: {TOO_WIDE}")
        evidence = [
            {
                "relation_id": fact["relation_id"],
                "kind": fact["kind"],
                "time": fact["time"],
                "event": cause_of(fact),
                "weight": used.weight(fact["kind"], fact["time"], now),
            }
            for fact in recent
        ]
        evidence.sort(key=lambda fact: (-fact["weight"], -_milliseconds(fact["time"]), fact["relation_id"]))
        return answers.relationship(document, evidence[:EVIDENCE], used, now)

    def cells(
        self, tenant: str, consumer_id: str, provider_id: str, limit: int, after: Place | None
    ) -> Document | None:
        """The sums of a relationship by kind and month, after a place, as in ``relations``; None without
        relations. Raises BadPlace."""
        return self._pairs.cells(tenant, consumer_id, provider_id, limit, after)

    def _list(
        self, tenant: str, side: str, id: str, limit: int, after: tuple[float, str] | None
    ) -> list[Document]:
        """Reads a page as ``shared.cassandra.lists.RelationshipLists.page``."""
        wanted: Document = {"tenant": tenant, side: id}
        if after is not None:
            wanted["$or"] = [{"score": {"$lt": after[0]}}, {"score": after[0], "_id": {"$gt": after[1]}}]
        return self._many("relationships", wanted, [("score", -1), ("_id", 1)], limit)

    def _one(self, collection: str, id: str) -> Document | None:
        with translated():
            return self._database[self._names(collection)].find_one({"_id": id})

    def _many(
        self, collection: str, wanted: Document, order: Sequence[tuple[str, int]], limit: int
    ) -> list[Document]:
        with translated():
            return list(self._database[self._names(collection)].find(wanted).sort(list(order)).limit(limit))


def _facts_after(wanted: Document, place: Place | None) -> Document:
    if place is None:
        return wanted
    milliseconds, last = _checked(place, int, str)
    try:
        time = EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise BadPlace from None
    return {**wanted, "$or": [{"time": {"$lt": time}}, {"time": time, "_id": {"$lt": last}}]}


def _score_and_id(place: Place | None) -> tuple[float, str] | None:
    if place is None:
        return None
    score, id = _checked(place, float, str)
    return score, id


def _place_of_fact(fact: Document) -> Place:
    return [_milliseconds(fact["time"]), fact["_id"]]


def _place_of_relationship(document: Document) -> Place:
    return [document["score"], document["_id"]]


def _checked(place: Place, *types: type) -> Place:
    if [type(value) for value in place] != list(types):
        raise BadPlace
    return place


def _milliseconds(time: datetime) -> int:
    return (time.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
