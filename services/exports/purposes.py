"""What a purpose does to a dataset. Pure."""

from collections.abc import Mapping

from services.exports.columns import Dataset
from shared.http.parameters import BadParameter
from shared.http.purposes import GRANTED, IMPERSONAL, SUMS, Decision

_SUMS = "sums up consumers, so it cannot leave out those who have not granted a purpose"
#: Datasets whose rows do not belong to one consumer each.
REASONS: Mapping[str, str] = {
    "aggregates": _SUMS,
    "providers": "are not about consumers, so a purpose does not apply",
}
_DECISIONS: Mapping[str, Decision] = {
    "relations": GRANTED,
    "relationships": GRANTED,
    "consumers": GRANTED,
    "providers": IMPERSONAL,
    "aggregates": SUMS,
}


def check_purpose(dataset: str) -> None:
    """Raises BadParameter for a dataset whose rows do not belong to a consumer each."""
    if dataset in REASONS:
        raise BadParameter("purpose", f"{dataset} {REASONS[dataset]}")


def decision_of(dataset: Dataset) -> Decision:
    """What the routes of a dataset do for credentials that are bound to a purpose."""
    return _DECISIONS[dataset.name]
