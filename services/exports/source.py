"""Opens exports: a dataset, filtered by a query, as of one moment."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from bson.timestamp import Timestamp
from pymongo.database import Database

from services.exports.column_access import check_filters, masked, split
from services.exports.columns import Batches, Column, Dataset, Row
from services.exports.consent import consenting
from services.exports.datasets import DATASETS
from services.exports.decryption import Reveal
from services.exports.flatten import added_up
from services.exports.query import MAX_PROVIDERS, ExportQuery, filter_of, tenant_of
from services.exports.snapshot import BATCH, Documents, Snapshot
from shared.contracts.events import document_id
from shared.http.parameters import BadParameter
from shared.runtime.protocols import Document


@dataclass(frozen=True, slots=True)
class Export:
    """Rows as of one moment. ``rows`` is read once, and closed by its reader. ``day`` is the column by whose UTC
    day it can be partitioned."""

    name: str
    tenant: str
    columns: Sequence[Column]
    as_of: datetime
    rows: Batches
    day: str | None = None
    #: Columns that are left out because the caller may not see them.
    hidden: Sequence[str] = ()
    #: What a measure states beside its items (JSON values): period, currency, how many are left out …
    about: Mapping[str, Any] = field(default_factory=dict)
    #: Whether it contains personal data.
    personal: bool = False

    @property
    def filename(self) -> str:
        """Without its extension: ``relations-2026-11-22``."""
        return f"{self.name.rpartition('/')[2]}-{self.as_of.date().isoformat()}"


class Exports:
    """The exports of one database."""

    def __init__(self, database: Database[Document], reveal: Reveal | None = None) -> None:
        """``reveal`` decrypts sealed values if personal fields are requested; without it they stay empty."""
        self._database = database
        self._reveal = reveal

    def snapshot(self, moment: Timestamp | None = None) -> Snapshot:
        return Snapshot(self._database, moment)

    def open(
        self,
        name: str,
        query: ExportQuery,
        *,
        personal: bool = False,
        masks: Sequence[str] = (),
        chosen: ExportQuery | None = None,
        snapshot: Snapshot | None = None,
    ) -> Export:
        """The matching rows, ordered by the dataset's key. ``chosen`` is what of the query the caller has
        chosen (None: all of it). The first batch is read here, so that early failures
        are raised here: BadParameter, Unavailable, MomentPassed."""
        dataset = DATASETS.get(name)
        if dataset is None:
            raise BadParameter("dataset", f"there is no dataset {name}; there are {', '.join(DATASETS)}")
        query.check(dataset)
        columns, hidden = split(dataset, personal, masks)
        check_filters(chosen or query, dataset, masks)
        dataset = masked(dataset, masks)
        snapshot = snapshot or self.snapshot()
        providers = None
        if query.category is not None and dataset.name != "providers":
            providers = _providers(snapshot, query)
        found = snapshot.find(
            dataset.source,
            dataset.collection,
            filter_of(
                dataset, query, providers, _wide(snapshot, query) if dataset.name == "relationships" else ()
            ),
            dataset.projection(personal),
            [(field, 1) for field in dataset.key],
        )
        rows = _PrefetchedBatches(self._rows(dataset, found, snapshot, query, personal))
        shown = any(column.personal for column in columns)
        return Export(name, query.tenant, columns, snapshot.time, rows, dataset.day, hidden, personal=shown)

    def _rows(
        self, dataset: Dataset, found: Documents, snapshot: Snapshot, query: ExportQuery, personal: bool
    ) -> Generator[Sequence[Row], None, None]:
        reveal = self._reveal if personal and dataset.personal_fields else None
        with closing(found):
            documents: Iterator[Document] = added_up(found) if dataset.partials else found
            flat = dataset.flat
            batch: Sequence[Document]
            while batch := list(islice(documents, BATCH)):
                if query.purpose is not None:
                    # Before decryption, so that no values are decrypted in vain.
                    batch = consenting(snapshot, query.tenant, query.purpose, batch)
                yield [flat(document) for document in (reveal(query.tenant, batch) if reveal and batch else batch)]


class _PrefetchedBatches:
    """Batches whose first is already read. Closing it closes the rest, even if no batch was taken."""

    def __init__(self, rows: Generator[Sequence[Row], None, None]) -> None:
        self._rows = rows
        self._first = next(rows, None)

    def __iter__(self) -> "_PrefetchedBatches":
        return self

    def __next__(self) -> Sequence[Row]:
        first, self._first = self._first, None
        return next(self._rows) if first is None else first

    def close(self) -> None:
        self._rows.close()


def _wide(snapshot: Snapshot, query: ExportQuery) -> list[str]:
    """The relationships with the query's kind whose kinds are in documents of their own. Raises BadParameter for
    too many."""
    if query.kind is None:
        return []
    wanted = {"tenant": query.tenant, "kind": query.kind}
    fields = {"_id": 0, "consumer_id": 1, "provider_id": 1}
    ids: set[str] = set()
    with closing(snapshot.find("relations", "relationship_cells", wanted, fields)) as found:
        for document in found:
            ids.add(document_id(query.tenant, document["consumer_id"], document["provider_id"]))
            if len(ids) > MAX_PROVIDERS:
                raise BadParameter(
                    "kind",
                    f"is in more than {MAX_PROVIDERS:,} relationships of very many kinds; export all of them",
                )
    return list(ids)


def _providers(snapshot: Snapshot, query: ExportQuery) -> list[str]:
    """The providers of the query's category, as of the moment. Raises BadParameter for too many."""
    providers = DATASETS["providers"]
    wanted = {**tenant_of(providers, query.tenant), "categories": query.category}
    fields = {"_id": 0, "provider_id": 1}
    with closing(snapshot.find("relations", "providers", wanted, fields, limit=MAX_PROVIDERS + 1)) as found:
        names = [document["provider_id"] for document in found]
    if len(names) > MAX_PROVIDERS:
        raise BadParameter(
            "category", f"has more than {MAX_PROVIDERS:,} providers, which is too many for a filter"
        )
    return names
