"""The datasets that cannot be filtered by a purpose. Pure."""

from collections.abc import Mapping

from shared.http.parameters import BadParameter

#: Datasets whose rows do not belong to one consumer each.
_SUMS = "sums up consumers, so it cannot leave out those who have not granted a purpose"
REASONS: Mapping[str, str] = {
    "aggregates": _SUMS,
    "providers": "are not about consumers, so a purpose does not apply",
}


def check_purpose(dataset: str) -> None:
    """Raises BadParameter for a dataset whose rows do not belong to a consumer each."""
    if dataset in REASONS:
        raise BadParameter("purpose", f"{dataset} {REASONS[dataset]}")
