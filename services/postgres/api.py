"""The HTTP interface of the Postgres sink: health and metrics. Its data is in Postgres."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from shared.access.app import guarded_app
from shared.access.guard import Access

DESCRIPTION = """\
Keeps relations, relationships, consumers and providers as tables in Postgres, where they are read with SQL.

This API says whether the sink works; it has no data.
"""


def create_app(ready: Callable[[], Sequence[str]], *, access: Access) -> FastAPI:
    """The app. ``ready`` returns the reasons why the sink cannot work."""
    return guarded_app("Kith Postgres sink", DESCRIPTION, access, ready)
