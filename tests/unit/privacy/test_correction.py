"""A correction is rejected where the ingest service would reject its event."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.privacy.correction import correction
from shared.contracts.errors import InvalidEvent

NOW = datetime(2026, 5, 3, tzinfo=UTC)


def corrected(patch: dict[str, Any]) -> Any:
    return correction("default", "ada", {}, patch, "id", NOW).data


@pytest.mark.parametrize(
    ("patch", "reason", "field"),
    [
        ({"personal": {"name": "kith1." + "A" * 60}}, "sealed", "personal.name"),
        ({"location": {"city": "kith1." + "A" * 60}}, "sealed", "location.city"),
        ({"personal": {f"x{n}": "y" * 1000 for n in range(40)}}, "too_large", None),
        ({"traits": {f"x{n}": "é" * 1000 for n in range(20)}}, "too_large", None),
    ],
)
def test_what_could_not_be_stored_or_read_again_is_rejected(
    patch: dict[str, Any], reason: str, field: str | None
) -> None:
    with pytest.raises(InvalidEvent) as found:
        corrected(patch)
    assert (found.value.reason, found.value.field) == (reason, field)


def test_a_text_that_only_begins_like_a_sealed_value_is_taken() -> None:
    assert corrected({"personal": {"name": "kith1."}}).personal == {"name": "kith1."}
