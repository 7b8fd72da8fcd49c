"""What is wrong with a value that pydantic has refused, in words for a person. Pure."""

from collections.abc import Mapping
from typing import Any

from shared.contracts.events import TEXT, VISIBLE

NOT_VISIBLE = (
    "is empty, begins or ends with white space, or contains a character that is not seen (a control, zero-width, "
    "filler or direction character, a variation selector); remove it"
)
_IN_WORDS = {
    VISIBLE: NOT_VISIBLE,
    TEXT: "contains a control character, as NUL, or one that reverses the direction of text; remove it",
}


def in_words(error: Mapping[str, Any]) -> str:
    """The message of one of pydantic's ``errors()``: a validator's without pydantic's prefix, and words in place
    of the pattern of texts that people read."""
    message = str(error["msg"]).removeprefix("Value error, ")
    return next((said for pattern, said in _IN_WORDS.items() if pattern in message), message)
