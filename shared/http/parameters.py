"""Request parameters that several services share. Pure."""

from datetime import datetime

from shared.contracts.rfc3339 import parse_day_or_time


class BadParameter(ValueError):
    """A parameter is invalid. ``name`` is the parameter, ``detail`` the reason, for the sender."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail


def moment(name: str, text: str) -> datetime:
    """The time, in UTC, of a day (its start in UTC) or of a time with offset. Raises BadParameter."""
    try:
        return parse_day_or_time(text)
    except ValueError as error:
        raise BadParameter(name, f"{error} (a plus sign in an address is written %2B)") from None
