"""Endpoints of applications: each is held to what its application may have now."""

import logging
from collections.abc import Callable, Iterable, Sequence

from services.webhooks.fanout.subscription import SCOPES
from shared.access.apps.model import App, is_app_id
from shared.access.apps.store import UnreadableApp
from shared.access.masks import hides
from shared.http.caller import WEBHOOKS_MANAGE
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)


def application_of(endpoint: Document) -> str | None:
    """The application that an endpoint belongs to; None for one of the tenant's own."""
    if endpoint.get("bound") and is_app_id(endpoint.get("purpose", "")):
        return str(endpoint["purpose"])
    by = endpoint["created_by"]
    return by if is_app_id(by) else None


def narrowed(endpoint: Document, masks: Iterable[str]) -> Document:
    """The endpoint of an application with these ``masks``. They replace those that the application had when it
    made the endpoint; those of another credential stay."""
    own = () if is_app_id(endpoint["created_by"]) else endpoint["masks"]
    return {**endpoint, "masks": sorted({*own, *masks})}


def masks_in(app: Document) -> list[str]:
    """The masks in the stored document of an application. Where they cannot be read, nothing is sent until they
    can; then they are asked for again."""
    masks = app.get("masks")
    return masks if isinstance(masks, list) else []


def hides_consumers(endpoint: Document, app: App | None) -> bool:
    """Whether the ids of consumers are hidden from an endpoint of ``app`` at present: by the masks of the
    application, or by those of the credential that has made the endpoint for it."""
    return hides(narrowed(endpoint, () if app is None else app.masks)["masks"], "consumer_id")


class Unreadable:
    """Says which applications cannot be read: to ``count`` how many, and in the log each when it becomes one."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count, self._known = count, set[str]()

    def note(self, ids: set[str]) -> None:
        self._count(len(ids))
        for id in sorted(ids - self._known):
            log.error("webhooks: %s; nothing is sent to its endpoints until it can be read", UnreadableApp(id))
        for id in sorted(self._known - ids):
            log.warning("webhooks: the application %s can be read again", id)
        self._known = ids


def readable(ids: Iterable[str], find: Callable[[str], App | None]) -> tuple[dict[str, App | None], set[str]]:
    """Each application by its id (None: there is none), and the ids of those that cannot be read (UnreadableApp).
    ``find`` finds one, and may raise Unavailable."""
    apps: dict[str, App | None] = {}
    unread = set[str]()
    for id in ids:
        try:
            apps[id] = find(id)
        except UnreadableApp:
            unread.add(id)
    return apps, unread


def served(
    endpoints: Sequence[Document],
    find: Callable[[str], App | None],
    unreadable: Callable[[set[str]], None] = lambda _: None,
) -> list[Document]:
    """The endpoints as they are sent to now. One whose application may not have what it subscribes to
    (suspended, deleted, or without a scope) is ``only_told``: it gets what no application can be refused, and what
    else is queued waits. ``pace`` is the rate at which the application may be sent to, ``scopes`` are those that
    it has. ``find`` finds an application, and may raise Unavailable. Those of an application that cannot be read
    (UnreadableApp) are left out: nobody knows what they may have. ``unreadable`` is called with the ids of
    these."""
    owners = {id for each in endpoints if (id := application_of(each)) is not None}
    apps, unread = readable(sorted(owners), find)
    unreadable(unread)
    found = []
    for endpoint in endpoints:
        if (id := application_of(endpoint)) is None:
            found.append(endpoint)
            continue
        if id in unread:
            continue
        app = apps[id]
        now = narrowed(endpoint, () if app is None else app.masks)
        if app is not None:
            now |= {"pace": app.limits.webhooks, "scopes": sorted(app.scopes)}
        found.append(now if _may_have(app, endpoint) else {**now, "only_told": True})
    return found


def must_wait(endpoint: Document, delivery: Document) -> bool:
    """Whether a served endpoint must not get a delivery now. A receipt that names a consumer whose id is hidden
    from the application waits; anything else that is no receipt waits where the endpoint is ``only_told``."""
    if "receipt" not in delivery:
        return bool(endpoint.get("only_told"))
    return "consumer_id" in delivery["change"]["data"] and hides(endpoint["masks"], "consumer_id")


def lacking_scope(endpoint: Document, type: str) -> str | None:
    """The scope that a served endpoint needs for a change of a ``type``, and that its application does not have;
    None if it may have it. It may have subscribed to the type while the application had the scope: nothing waits
    for the scope's return, because the endpoint does not subscribe to the type any more."""
    scope = SCOPES.get(type)
    return scope if scope is not None and scope not in endpoint.get("scopes", (scope,)) else None


def _may_have(app: App | None, endpoint: Document) -> bool:
    needed = {WEBHOOKS_MANAGE, *(SCOPES[type] for type in endpoint["types"] if type in SCOPES)}
    return (
        app is not None
        and app.tenant == endpoint["tenant"]
        and app.state == "approved"
        and needed <= {*app.scopes}
    )
