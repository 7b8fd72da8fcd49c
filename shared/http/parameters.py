"""Parameters of requests, where services take the same. Pure."""

from datetime import datetime

from shared.contracts.rfc3339 import parse_day_or_time


class BadParameter(ValueError):
    """A parameter cannot be used. ``name`` is the parameter, ``detail`` says to its sender why."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail


def moment(name: str, text: str) -> datetime:
    """The time, in UTC, of a day (its beginning in UTC) or of a time with its offset. Raises BadParameter."""
    try:
        return parse_day_or_time(text)
    except ValueError as error:
        raise BadParameter(name, f"{error} (a plus sign in an address is written %2B)") from None
