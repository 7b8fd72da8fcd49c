"""What a caller may read of a dataset. Pure."""

from collections.abc import Sequence

from services.exports.columns import Column, Dataset
from services.exports.wish import Wish
from shared.access.caller import ANALYTICS_READ, CONSUMERS_READ, RELATIONS_READ
from shared.parameters import BadParameter


def scope_of(dataset: Dataset) -> str:
    """The same as for the API that shows the same documents."""
    if dataset.source == "analytics":
        return ANALYTICS_READ
    return CONSUMERS_READ if dataset.name == "consumers" else RELATIONS_READ


def split(dataset: Dataset, personal: bool, masks: Sequence[str]) -> tuple[list[Column], list[str]]:
    """The columns that are shown, and the names of those that the masks hide. A mask is a field's path
    (``amount``, ``location.city``, ``personal.*``); what a hidden field could be told from is hidden, too."""
    shown: list[Column] = []
    hidden: list[str] = []
    for column in dataset.visible(personal):
        if any(_hides(mask, column) for mask in masks):
            hidden.append(column.name)
        else:
            shown.append(column)
    return shown, hidden


def check_filters(wish: Wish, hidden: Sequence[str]) -> None:
    """Raises BadParameter for a filter by a column that is hidden: its answer would tell what is in it."""
    for name in ("kind", "consumer_id", "provider_id", "key"):
        if getattr(wish, name) is not None and name in hidden:
            raise BadParameter(name, "is hidden from this credential")


def _hides(mask: str, column: Column) -> bool:
    first, *_ = parts = [part for part in mask.split(".") if part != "*"]
    # Of a map that is one text, one hidden entry hides all.
    return parts[-1] in (column.name, *column.tells) or (column.type == "json" and first == column.name)
