"""The HTTP interface of the privacy service: routes over erasures and people."""

from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi import FastAPI

from services.privacy.erasure_routes import add_erasures
from services.privacy.erasures import Erasures
from services.privacy.people import People
from services.privacy.person_routes import add_people
from services.privacy.receipts import Receipts
from shared.access.app import guarded_app
from shared.access.guard import Access
from shared.contracts.codec import encode
from shared.contracts.events import ConsumerEvent, event_key
from shared.contracts.topics import Topics
from shared.runtime.protocols import Message
from shared.vault.keys import Vault

DESCRIPTION = """\
Erases, corrects and exports the data of one consumer.

An erasure destroys the consumer's key and deletes the relations (`delete`) or moves them to a pseudonym
(`anonymise`). It is permanent: no replay, rebuild or restored dump brings the consumer back.
"""


def create_app(
    erasures: Erasures,
    people: People,
    receipts: Receipts,
    publish: Callable[[Sequence[Message]], None],
    topics: Topics,
    ready: Callable[[], Sequence[str]],
    clock: Callable[[], datetime],
    *,
    access: Access,
    vault: Vault | None = None,
    notify: Callable[[str, str, Sequence[str], datetime], None] = lambda *_: None,
) -> FastAPI:
    """The app. ``publish`` returns once Kafka has acknowledged the messages; ``ready`` returns the reasons why the
    service cannot work; ``access`` decides on each request. Without ``vault`` personal values are in plain
    text. ``notify`` tells the applications that may know a consumer (tenant, id, those whose purpose is granted
    now) that a copy of their data is made."""
    app = guarded_app("Kith privacy", DESCRIPTION, access, ready, ids_in_paths=True)

    def send(event: ConsumerEvent) -> None:
        publish([Message(topics.of(event), event_key(event), encode(event))])

    add_erasures(app, erasures, people, receipts, send)
    add_people(app, people, send, clock, vault, notify)
    return app
