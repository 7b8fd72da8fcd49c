"""What every application is told without subscribing to it, and the record of it. Pure.

A *notice* says what has happened and which applications it concerns. It is stored in the transaction, or before
the act, that it tells of. The webhooks service makes a *receipt* per application of it, and a delivery to one of
the application's endpoints. Both have ids, and never personal values.

Whom an erasure or an export concerns follows from the register ``app_consumers``: the applications that a consumer
has ever granted their purpose. Whoever withdraws a consent may be known to the application all the same.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from shared.access.apps.model import App, is_app_id
from shared.contracts.events import document_id
from shared.erasure.records import erasure_id

Topic = Literal["consumer.erased", "consumer.exported", "app.uninstalled"]
ERASED: Topic = "consumer.erased"
EXPORTED: Topic = "consumer.exported"
UNINSTALLED: Topic = "app.uninstalled"
TOPICS: tuple[Topic, ...] = get_args(Topic)

#: ``waiting``: it cannot be told at present, ``reason`` says why. ``queued``: it is sent to until it has answered.
#: ``failed``: it was given up.
State = Literal["waiting", "queued", "delivered", "failed"]
STATES: tuple[State, ...] = get_args(State)
#: The reason of a receipt that has just been made.
UNSEEN = "it was not looked at yet"
#: How long a receipt is kept after it was delivered or failed: as claims for damages are brought for three years.
KEPT = timedelta(days=3 * 365)

Document = dict[str, Any]
#: A place in the list of receipts: when it happened, and the receipt's id.
Place = tuple[datetime, str]


def erased(tenant: str, consumer_id: str, apps: Iterable[str], at: datetime) -> Document:
    """The notice that a consumer was erased. There is one per consumer, however often it is asked for."""
    return _notice(tenant, ERASED, erasure_id(tenant, consumer_id), apps, at, consumer_id)


def exported(tenant: str, consumer_id: str, apps: Iterable[str], at: datetime) -> Document:
    """The notice that a copy of a consumer's data was made: one per consumer and day (UTC)."""
    mark = f"{erasure_id(tenant, consumer_id)}/{at.date().isoformat()}"
    return _notice(tenant, EXPORTED, mark, apps, at, consumer_id)


def uninstalled(app: App, at: datetime) -> Document:
    """The notice that an application was deleted."""
    return _notice(app.tenant, UNINSTALLED, app.id, [app.id], at, None)


def notice_of_erasure(tenant: str, erasure: str) -> str:
    """The id of the notice of an erasure; those of its receipts begin with it and ``/``."""
    return f"{tenant}:{ERASED}/{erasure}"


def _notice(
    tenant: str, topic: Topic, mark: str, apps: Iterable[str], at: datetime, consumer_id: str | None
) -> Document:
    return {
        "_id": f"{tenant}:{topic}/{mark}",
        "tenant": tenant,
        "topic": topic,
        "apps": sorted(apps),
        "at": at,
        **({} if consumer_id is None else {"consumer_id": consumer_id}),
    }


def receipt(notice: Mapping[str, Any], app: str) -> Document:
    """The receipt of a notice for one application: nobody was told yet. Its id is that of the message, too."""
    kept = ("tenant", "topic", "at", "consumer_id")
    return {
        "_id": f"{notice['_id']}/{app}",
        "app": app,
        **{name: notice[name] for name in kept if name in notice},
        "state": "waiting",
        "reason": UNSEEN,
        "attempts": 0,
    }


def applications_in(consent: Mapping[str, Any]) -> list[str]:
    """The applications whose purpose is granted in a consumer's consent."""
    return sorted(name for name, granted in consent.items() if granted is True and is_app_id(name))


def register_id(tenant: str, consumer_id: str) -> str:
    """The id of a consumer's document in the register."""
    return document_id(tenant, consumer_id)
