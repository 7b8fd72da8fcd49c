"""The columns of a dataset that a caller may read. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson

from services.exports.columns import Column, Dataset
from services.exports.query import ExportQuery
from shared.access.lineage import GROUPED, KEY, DerivedFrom, reveals
from shared.access.masks import with_masks
from shared.http.caller import ANALYTICS_READ, CONSUMERS_READ, RELATIONS_READ, Denied
from shared.http.problems.client import HIDDEN_FIELD
from shared.runtime.protocols import Document

#: What each filter reveals, in any dataset.
FILTERS: Mapping[str, DerivedFrom] = {
    "since": DerivedFrom("time"),
    "until": DerivedFrom("time"),
    "kind": DerivedFrom("kind"),
    "category": DerivedFrom("categories"),
    "consumer_id": DerivedFrom("consumer_id"),
    "provider_id": DerivedFrom("provider_id"),
    "by": GROUPED,
    "key": KEY,
    "purpose": DerivedFrom("consent"),
}
_PUBLIC_NAMES = {"since": "from", "until": "to"}


def scope_of(dataset: Dataset) -> str:
    """The scope of the API that shows the same documents."""
    if dataset.source == "analytics":
        return ANALYTICS_READ
    return CONSUMERS_READ if dataset.name == "consumers" else RELATIONS_READ


def split(dataset: Dataset, personal: bool, masks: Sequence[str]) -> tuple[list[Column], list[str]]:
    """The visible columns, and the names of those that the masks hide. A mask is a field's path (``amount``,
    ``location.city``, ``personal.*``). Columns from which a hidden field follows are hidden, too."""
    shown: list[Column] = []
    hidden: list[str] = []
    for column in dataset.visible(personal):
        if any(_hides(mask, column) for mask in masks):
            hidden.append(column.name)
        else:
            shown.append(column)
    return shown, hidden


def personal_read(
    dataset: Dataset, query: ExportQuery, masks: Sequence[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """The subject and the fields of the audit's entry on an export with personal columns; no fields where nothing
    personal is read, which is no entry."""
    shown, _ = split(dataset, True, masks)
    subject = {"export": dataset.name}
    if query.consumer_id is not None:
        subject["consumer_id"] = query.consumer_id
    return subject, [column.name for column in shown if column.personal]


def check_filters(query: ExportQuery, dataset: Dataset, masks: Sequence[str]) -> None:
    """Raises Denied (403) for a filter by something hidden, and for rows that would reveal it by being there."""
    _, hidden = split(dataset, True, masks)
    asked = {"by": query.by}
    for name, lineage in FILTERS.items():
        if getattr(query, name) is None:
            continue
        public = _PUBLIC_NAMES.get(name, name)
        field = reveals(masks, lineage.of(asked))
        if field is None and dataset.period in hidden and public != name:
            field = dataset.period
        if field is None and name in masks:
            field = name
        if field is not None:
            raise hidden_from_credential(f"{public}: {field}")
    if field := revealed_by_rows(dataset, masks, query.by):
        raise hidden_from_credential(f"{dataset.name}: {field}")


def revealed_by_rows(dataset: Dataset, masks: Sequence[str], by: str | None = None) -> str | None:
    """The masked field that the rows of sums reveal: there is one for each day and, unless they are grouped by
    something else, for each kind."""
    if not dataset.partials:
        return None
    return reveals(masks, ("time", "day", *GROUPED.of({"by": by})))


def hidden_from_credential(what: str) -> Denied:
    return Denied(403, f"{what} is hidden from this credential, and the answer would reveal it", kind=HIDDEN_FIELD)


def masked(dataset: Dataset, masks: Sequence[str]) -> Dataset:
    """``dataset`` with the masks applied inside of its maps, as in the API."""
    maps = [column.name for column in dataset.columns if column.type == "json"]
    if not masks or not maps:
        return dataset

    def flat(document: Document) -> Document:
        row = dict(dataset.flat(document))
        for name in maps:
            if (text := row.get(name)) is not None:
                shown = with_masks({name: orjson.loads(text)}, masks)
                row[name] = orjson.dumps(shown[name], option=orjson.OPT_SORT_KEYS).decode()
        return row

    return replace(dataset, flat=flat)


def _hides(mask: str, column: Column) -> bool:
    first = mask.partition(".")[0]
    # A map exported as one text is hidden if any of its entries is, and so is a value that has no parts. Flattened
    # parts (the city of a location) say what they are derived from.
    return column.name == first or reveals([mask], column.tells or ()) is not None
