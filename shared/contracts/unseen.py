"""Ids that look like others, because of a character that nobody sees. Pure.

The codec refuses controls and formats. These kinds were accepted once: events with them are stored and decode for
ever, what they made can be retracted, closed and erased, and only what would make more of it is refused, where it
comes in.
"""

from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerUpserted, Event, ProviderUpserted, RelationRecorded
from shared.contracts.spelling import NAMES, NAMES_IN_DATA
from shared.contracts.wording import NOT_VISIBLE

# Fillers and variation selectors, what is no character, and the blank of Braille.
_SEEN = r"^[^\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]*$"
_validate = TypeAdapter(Annotated[str, StringConstraints(pattern=_SEEN)]).validate_python
_MAKERS = (ConsumerUpserted, ProviderUpserted, RelationRecorded)


def check_seen(event: Event) -> None:
    """Raises InvalidEvent with the field at fault."""
    if not isinstance(event, _MAKERS):
        return
    for part, names, prefix in ((event, NAMES, ""), (event.data, NAMES_IN_DATA, "data.")):
        for name in names:
            id: str | None = getattr(part, name, None)
            if id is None or id.isascii():
                continue
            try:
                _validate(id)
            except ValidationError:
                raise InvalidEvent("invalid", NOT_VISIBLE, prefix + name) from None
