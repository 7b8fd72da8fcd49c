"""Reads pages of entities, all as of the moment of the first page."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from services.exports import consent
from services.exports.columns import Dataset, Row
from services.exports.flatten import added_up
from services.exports.odata.mongo import SUMMED, Translator, after
from services.exports.odata.options import MAX_PAGE, Options, Token
from services.exports.odata.terms import Logic, Term
from services.exports.query import tenant_of
from services.exports.snapshot import Documents, Snapshot
from shared.contracts.money import PUSHED, summed
from shared.runtime.protocols import Document


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[Row]
    next: Token | None
    count: int | None


class Reader:
    """One dataset of one tenant as of one moment. Methods raise ODataError, Unavailable and MomentPassed."""

    def __init__(self, snapshot: Snapshot, dataset: Dataset, tenant: str, translator: Translator) -> None:
        self._snapshot = snapshot
        self._dataset = dataset
        self._tenant = tenant
        self._translator = translator

    def page(self, asked: Options) -> Page:
        token = asked.token
        left = asked.top if token is None else token.left
        # No page is larger, whatever a token or a client says.
        most = min(asked.page, MAX_PAGE)
        size = most if left is None else max(0, min(most, left))
        skip = asked.skip if token is None else 0
        count = token.count if token else self.count(asked.filter, asked.purpose) if asked.count else None
        if size == 0:
            return Page([], None, count)
        # One extra row shows whether there is a next page.
        found = self._documents(asked, token, skip, size + 1)
        shown = found[:size]
        rows = [self._dataset.flat(document) for document in shown]
        rest = None if left is None else left - size
        if len(found) <= size or rest == 0:
            return Page(rows, None, count)
        place = tuple(_at(shown[-1], path) for path, _ in asked.order)
        return Page(rows, Token(self._snapshot.moment, place, rest, count), count)

    def one(self, id: str, purpose: str | None = None) -> Row | None:
        wanted = {"$and": [self._base(), self._translator.key(id)]}
        with closing(self._find(wanted, [(path, 1) for path in self._dataset.key], 0)) as found:
            documents = list(added_up(found) if self._dataset.partials else found)
        if purpose is not None and documents:
            documents = list(consent.consenting(self._snapshot, self._tenant, purpose, documents))
        return self._dataset.flat(documents[0]) if documents else None

    def count(self, term: Term | None, purpose: str | None = None) -> int:
        """The number of rows."""
        if self._dataset.partials:
            stages = self._summed(term)
        else:
            matched: Mapping[str, Any] = {"$match": {"$and": [self._base(), *self._conditions(term)]}}
            stages = [matched, *self._granted(purpose)]
        with closing(self._aggregate([*stages, {"$count": "rows"}])) as found:
            return next((document["rows"] for document in found), 0)

    def _documents(self, asked: Options, token: Token | None, skip: int, limit: int) -> list[Document]:
        beyond = [after(asked.order, token.place)] if token else []
        if not self._dataset.partials:
            wanted = {"$and": [self._base(), *self._conditions(asked.filter), *beyond]}
            if asked.purpose is not None:
                stages: list[Mapping[str, Any]] = [{"$match": wanted}, {"$sort": dict(asked.order)}]
                stages += self._granted(asked.purpose)
                stages += [{"$skip": skip}, {"$limit": limit}]
                stages += [{"$project": self._dataset.projection(personal=False)}]
                with closing(self._aggregate(stages)) as found:
                    return list(found)
            with closing(self._find(wanted, asked.order, limit, skip)) as found:
                return list(found)
        if asked.ordered or (asked.filter and self._translator.is_summed(asked.filter)):
            stages = self._summed(asked.filter)
            stages += [{"$match": condition} for condition in beyond]
            stages += [{"$sort": dict(asked.order)}, {"$skip": skip}, {"$limit": limit}]
            with closing(self._aggregate(stages)) as found:
                return list(map(_merged, found))
        # The index orders partial sums of one row next to each other, so that they can be added as a stream.
        wanted = {"$and": [self._base(), *self._conditions(asked.filter), *beyond]}
        with closing(self._find(wanted, asked.order, 0)) as found:
            return list(islice(added_up(found), skip, skip + limit))

    def _granted(self, purpose: str | None) -> list[Mapping[str, Any]]:
        return [] if purpose is None else consent.stages(self._snapshot, self._tenant, purpose)

    def _summed(self, term: Term | None) -> list[Mapping[str, Any]]:
        """Stages that add up the partial sums and then drop the rows that do not match the filter."""
        parts: Sequence[Term] = [] if term is None else [term]
        if isinstance(term, Logic) and term.operator == "and":
            parts = term.parts
        early = [self._translator.condition(part) for part in parts if not self._translator.is_summed(part)]
        late = [self._translator.condition(part) for part in parts if self._translator.is_summed(part)]
        sums: Document = {name: {"$sum": f"${name}"} for name in SUMMED}
        key = {name: f"${name}" for name in self._dataset.key}
        known = {"$in": ["$_id.by", ["total", "provider"]]}
        return [
            {"$match": {"$and": [self._base(), *early]}},
            {"$group": {"_id": key, **sums, "amount": {"$push": PUSHED}}},
            {"$match": {"$or": [{name: {"$ne": 0}} for name in SUMMED]}},
            {
                "$set": {name: f"$_id.{name}" for name in key}
                | {"consumers": {"$cond": [known, "$consumers", None]}}
            },
            *({"$match": condition} for condition in late),
        ]

    def _conditions(self, term: Term | None) -> list[Document]:
        return [] if term is None else [self._translator.condition(term)]

    def _base(self) -> Document:
        return {**tenant_of(self._dataset, self._tenant), **(self._dataset.always or {})}

    def _find(self, wanted: Document, order: Sequence[tuple[str, int]], limit: int, skip: int = 0) -> Documents:
        return self._snapshot.find(
            self._dataset.source,
            self._dataset.collection,
            wanted,
            self._dataset.projection(personal=False),
            order,
            limit=limit,
            skip=skip,
            stream=False,
        )

    def _aggregate(self, stages: Sequence[Mapping[str, Any]]) -> Documents:
        return self._snapshot.aggregate(self._dataset.source, self._dataset.collection, stages)


def _merged(group: Document) -> Document:
    """A group of partial sums as ``added_up`` gives it."""
    return {**group, "amount": summed(group["amount"])}


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
