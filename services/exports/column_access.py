"""The columns of a dataset that a caller may read. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import orjson

from services.exports.columns import Column, Dataset
from services.exports.datasets import DATASETS
from services.exports.query import ExportQuery
from shared.access.lineage import reveals
from shared.access.masks import with_masks
from shared.http.caller import ANALYTICS_READ, CONSUMERS_READ, RELATIONS_READ
from shared.http.parameters import BadParameter
from shared.runtime.protocols import Document

[_CATEGORIES] = [column for column in DATASETS["providers"].columns if column.name == "categories"]


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


def check_filters(query: ExportQuery, dataset: Dataset, masks: Sequence[str]) -> None:
    """Raises BadParameter for a filter by a hidden column: the answer would reveal its values."""
    _, hidden = split(dataset, True, masks)
    # A category belongs to providers, in a filter of any dataset.
    categories = any(_hides(mask, _CATEGORIES) for mask in masks)
    period = dataset.period in hidden
    refused = {"category": categories, "since": period, "until": period}
    for name in ("kind", "consumer_id", "provider_id", "by", "key", *refused):
        if getattr(query, name) is not None and refused.get(name, name in hidden):
            raise BadParameter({"since": "from", "until": "to"}.get(name, name), "is hidden from this credential")


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
    first, *_ = parts = [part for part in mask.split(".") if part != "*"]
    # A map exported as one text is hidden if any of its entries is.
    return (
        parts[-1] == column.name
        or (column.type == "json" and first == column.name)
        or reveals([mask], column.tells or ()) is not None
    )
