"""The HTTP interface of the Cassandra sink: health and metrics."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from shared.access.app import guarded_app
from shared.access.guard import Access

DESCRIPTION = """\
The Cassandra sink has no requests of its own: programs read its tables, and the relations API does with
`KITH_READS=cassandra`. `/health/ready` states why it cannot go on; `/metrics` counts what it has stored.
"""


def create_app(ready: Callable[[], Sequence[str]], *, access: Access) -> FastAPI:
    """The app. ``ready`` returns the reasons why the sink cannot work."""
    return guarded_app("Kith Cassandra sink", DESCRIPTION, access, ready)
