"""The HTTP interface of the bridge: health and metrics."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from shared.access.app import guarded_app
from shared.access.guard import Access

DESCRIPTION = """\
The bridge between RabbitMQ and Kith has no requests of its own. `/health/ready` states why a queue is not consumed
or changes do not go out; `/metrics` counts both.
"""


def create_app(ready: Callable[[], Sequence[str]], *, access: Access) -> FastAPI:
    """The app. ``ready`` returns the reasons why the bridge cannot work."""
    return guarded_app("Kith RabbitMQ bridge", DESCRIPTION, access, ready)
