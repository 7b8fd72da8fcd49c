"""Every route of every service, found in the applications themselves: a new one is tested without a word here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route

from services.analytics.api import create_app as analytics_app
from services.analytics.dashboard.live import add_live
from services.analytics.dashboard.operations import add_operations
from services.analytics.dashboard.pages import add_pages
from services.apps.api import create_app as apps_app
from services.apps.portal.pages import add_portal
from services.cassandra.api import create_app as cassandra_app
from services.exports.api import create_app as exports_app
from services.ingest.api import create_app as ingest_app
from services.intelligence.api import create_app as intelligence_app
from services.postgres.api import create_app as postgres_app
from services.privacy.api import create_app as privacy_app
from services.privacy.audit_routes import add_audit
from services.privacy.erasure_list import add_erasure_list
from services.rabbitmq.api import create_app as rabbitmq_app
from services.relations.api import create_app as relations_app
from services.webhooks.api import create_app as webhooks_app
from shared.access.guard import Access
from shared.http.metrics import add_metrics
from shared.observability.metrics import new_registry
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.builders import STRENGTH, TOPICS
from tests.support.measures_world import NOW

#: Asked by whoever starts and watches processes, or says no more than the source code does. (And the public keys
#: of receipts, which whoever was given a receipt checks it with.)
PUBLIC = {
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/asyncapi.json",
    # What the API is, and what its errors mean.
    "/docs",
    "/docs/{name}",
    "/problems",
    "/problems/{name}",
    "/v1/erasures/keys",
    # What an application can be granted; where it gets tokens, by its own credentials; what verifies them.
    "/v1/apps/scopes",
    "/oauth/token",
    "/oauth/revoke",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    # What can be exported, and under which names.
    "/v1/export",
    "/odata/v1",
    "/odata/v1/",
    "/odata/v1/{path}",
    # The dashboard's files, and where they ask.
    "/",
    "/dashboard",
    "/dashboard/config.json",
    # Who the caller is: says of those without a credential that they have none.
    "/dashboard/session.json",
    "/dashboard/{path}",
    # The developer portal's files, and where they ask.
    "/portal",
    "/portal/config.json",
    "/portal/{path}",
}


class Found(NamedTuple):
    service: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path}"


class Apps(Mapping[str, FastAPI]):
    """The services' applications by name, each built when it is first asked for: to build all of them takes a
    tenth of a second and more."""

    def __init__(self, builders: Mapping[str, Callable[[], FastAPI]]) -> None:
        self._builders = builders
        self._built: dict[str, FastAPI] = {}

    def __getitem__(self, service: str) -> FastAPI:
        if service not in self._built:
            app = self._builders[service]()
            add_metrics(app, new_registry())
            self._built[service] = app
        return self._built[service]

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)


def bare(access: Access) -> Apps:
    """The services over nothing: whatever gets past access control fails."""
    nothing = cast(Any, None)

    def analytics() -> FastAPI:
        app = analytics_app(nothing, list, cast(Any, list), access=access)
        add_live(app, nothing)
        add_operations(app, nothing, nothing, nothing, nothing)
        add_pages(app)
        return app

    def apps() -> FastAPI:
        app = apps_app(nothing, nothing, nothing, nothing, list, access=access)
        add_portal(app, "http://127.0.0.1:8708", {})
        return app

    def privacy() -> FastAPI:
        app = privacy_app(nothing, nothing, nothing, nothing, TOPICS, list, lambda: NOW, access=access, vault=None)
        add_audit(app, nothing)
        add_erasure_list(app, nothing)
        return app

    return Apps(
        {
            "ingest": lambda: ingest_app(
                MemoryPublisher(MemoryLog({})), TOPICS, Settings(), lambda: NOW, list, access=access
            ),
            "relations": lambda: relations_app(
                nothing, STRENGTH, list, lambda: NOW, cast(Any, list), access=access
            ),
            "analytics": analytics,
            "exports": lambda: exports_app(nothing, list, cast(Any, list), access=access),
            "intelligence": lambda: intelligence_app(nothing, nothing, nothing, nothing, list, access=access),
            "privacy": privacy,
            "webhooks": lambda: webhooks_app(nothing, list, [], access=access),
            "apps": apps,
            "postgres": lambda: postgres_app(list, access=access),
            "rabbitmq": lambda: rabbitmq_app(list, access=access),
            "cassandra": lambda: cassandra_app(list, access=access),
        }
    )


@cache
def every_route() -> Sequence[Found]:
    return tuple(
        Found(service, method, path)
        for service, app in bare(Access()).items()
        for route in app.routes
        for method, path in _places(route)
    )


def api_routes(app: FastAPI) -> list[APIRoute]:
    return [route for route in app.routes if isinstance(route, APIRoute)]


def _places(route: BaseRoute) -> list[tuple[str, str]]:
    # Whatever else a service may hold (a mount, a socket) has to be thought of here first.
    assert isinstance(route, Route | APIRoute), f"{route!r} is a kind of route that this does not know"
    path = route.path_format
    return [(method, path) for method in sorted(route.methods or ()) if method != "HEAD"]
