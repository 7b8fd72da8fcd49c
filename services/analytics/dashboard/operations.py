"""The operators' API: lag, workers, versions and dead letters, and the replay of dead letters."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, HTTPException, Query
from kafka.errors import AuthorizationError
from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import OperationFailure

from services.analytics.dashboard.message import Unmaskable, shown, tenant_of
from shared.access.chain import Act
from shared.access.guard import AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.errors import ConfigurationError
from shared.http.caller import ADMIN, METRICS_READ, PERSONAL_READ, Caller
from shared.http.costs import Cost, costs
from shared.http.purposes import INTERNAL
from shared.http.scopes import needs
from shared.http.server import json_response, problems
from shared.letters.letter import Selection, summary
from shared.letters.store import Letters
from shared.mongo.errors import translated
from shared.observability.status import Status
from shared.runtime.protocols import Document, Publisher

#: A status serves all requests for so many seconds.
FRESH_SECONDS = 1.0

_UNAUTHORIZED = 13
_AWAY = {503: "Kafka or MongoDB is unavailable. Retry after the seconds in Retry-After."}


class StatusSource(Protocol):
    def read(self) -> Status:
        """Raises Unavailable."""

    def close(self) -> None: ...


class Readings:
    """The status, read by one thread at a time and at most once a second. ``open`` opens a source, again after a
    failure."""

    def __init__(self, open: Callable[[], StatusSource], clock: Callable[[], float] = time.monotonic) -> None:
        self._open = open
        self._clock = clock
        self._lock = threading.Lock()
        self._source: StatusSource | None = None
        self._known: tuple[float, Status] | None = None

    def read(self) -> Status:
        """Raises Unavailable."""
        with self._lock:
            if self._known is not None and self._clock() - self._known[0] < FRESH_SECONDS:
                return self._known[1]
            if self._source is None:
                self._source = self._open()
            try:
                found = self._source.read()
            except BaseException:
                self._drop()
                raise
            self._known = (self._clock(), found)
            return found

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()


class ActionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[str], Field(min_length=1, max_length=200, description="Which dead letters.")]


def add_operations(
    app: FastAPI,
    readings: Readings,
    versions: Callable[[Status], dict[str, Any]],
    letters: Callable[[], Letters | None],
    open_publisher: Callable[[], Publisher],
) -> None:
    """Add the routes. ``versions`` gives those of each projection; ``letters`` the dead letters, or None
    where this process has no master key, and so cannot open what is encrypted."""

    @app.get(
        "/v1/operations",
        tags=["operations"],
        summary="Lag, workers, stored documents and versions, as `kith status --json` has them.",
        responses=problems(_AWAY),
    )
    @needs(METRICS_READ, purpose=INTERNAL)
    def get_operations() -> Any:
        """The state of the whole installation. `versions` has for each service which one is live and which is
        being built."""
        status = readings.read()
        return json_response({**status.as_dict(), "versions": versions(status)})

    @app.get(
        "/v1/dead-letters",
        tags=["operations"],
        summary="The latest open dead letters, without keys and values.",
        responses=problems(_AWAY),
    )
    @needs(ADMIN, purpose=INTERNAL)
    @costs(Cost.QUERY)
    def get_dead_letters(
        tenant: TenantOf, limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50
    ) -> Any:
        """The dead letters of the credential's tenant, and those of unknown tenants."""
        selection = Selection(seen_by=tenant)
        with translated():
            store = _there(letters())
            found, reasons = store.latest(selection, limit), store.reasons(selection)
        items = [{**summary(letter), "replayable": store.replayable(letter)} for letter in found]
        return json_response({"items": items, "reasons": reasons})

    @app.get(
        "/v1/dead-letters/message",
        tags=["operations"],
        summary="The message of one dead letter, line by line, with what is wrong in it marked.",
        responses=problems(
            {
                **_AWAY,
                403: "The credential lacks `personal:read`, has masks that cannot be applied to this message, or "
                "the message is not known to be its tenant's.",
                404: "There is no such dead letter.",
                409: "The message cannot be decrypted.",
                501: "This process has no master key.",
            }
        ),
    )
    @needs(ADMIN, PERSONAL_READ, masks_itself=True, purpose=INTERNAL)
    def get_message(
        id: Annotated[str, Query(max_length=400, description="The dead letter's id."), DerivedFrom()],
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
    ) -> Any:
        """It may hold personal data: this needs `personal:read` as well, and is in the audit. Only messages whose
        event names the credential's tenant are shown, or whose key does where the event cannot be read."""
        with translated():
            answer = _message(_there(letters()), id, tenant, caller)
            access.record(Act(tenant, caller.name, caller.key, "dead_letters.show", {"letter": id}))
        return json_response(answer)

    @app.post(
        "/v1/dead-letters/replay",
        tags=["operations"],
        summary="Publish dead letters again, the same bytes under the same key.",
        responses=problems(
            {
                **_AWAY,
                404: "One of them does not exist, or belongs to another tenant; nothing was done.",
                501: "This process has no master key, or may not write into the topics.",
            }
        ),
    )
    @needs(ADMIN, purpose=INTERNAL)
    @costs(Cost.QUERY)
    def replay(action: ActionRequest, tenant: TenantOf, caller: CallerOf, access: AccessOf) -> Any:
        """Safe to repeat: an event counts with its own time. Changes are left out, because they would be counted
        twice."""
        with translated():
            store = _there(letters())
            # Not the letters themselves, of which each may have a mebibyte.
            found = {id for id, whose in store.tenants(action.ids).items() if whose in (tenant, None)}
            if missing := sorted(set(action.ids) - found):
                raise HTTPException(404, f"there is no dead letter {missing[0]}")
            access.charge(caller, "events", len(found))
            acts = [
                Act(tenant, caller.name, caller.key, "dead_letters.replay", {"letter": id}) for id in sorted(found)
            ]
            access.record(*acts)
            done, left_out = _replayed(store, Selection(tuple(action.ids), seen_by=tenant), open_publisher)
        return json_response({"replayed": len(done), "left_out": left_out})


def _seen_by(store: Letters, tenant: str, ids: Sequence[str]) -> list[Document]:
    return [letter for letter in store.by_id(ids) if letter.get("tenant") in (tenant, None)]


def _message(store: Letters, id: str, tenant: str, caller: Caller) -> dict[str, Any]:
    """The message of a dead letter of ``tenant``, as ``caller`` may see it."""
    if not (found := _seen_by(store, tenant, [id])):
        raise HTTPException(404, f"there is no dead letter {id}")
    if tenant_of(found[0]) != tenant:
        raise HTTPException(
            403,
            "it is not certain that the message is this tenant's, by its event or its key; "
            "`kith dead-letters show` shows it to an operator",
        )
    try:
        [letter] = store.opened(found)
    except ConfigurationError as error:
        raise HTTPException(409, str(error)) from error
    try:
        return shown(letter, caller.masks)
    except Unmaskable:
        raise HTTPException(
            403, "the credential has masks, and the masked fields in this message cannot be located"
        ) from None


def _replayed(
    store: Letters, selection: Selection, open_publisher: Callable[[], Publisher]
) -> tuple[list[str], list[str]]:
    """The ids of the letters that were published again, and of those that were left out."""
    publisher = open_publisher()
    try:
        return store.replay(selection, publisher)
    except (AuthorizationError, OperationFailure) as error:
        if isinstance(error, OperationFailure) and error.code != _UNAUTHORIZED:
            raise
        # Its users have the least rights (`kith privileges`): neither sealing nor writing events is one.
        detail = "this process may not write events; `kith dead-letters replay` does it for an operator"
        raise HTTPException(501, detail) from error
    finally:
        publisher.close()


def _there(letters: Letters | None) -> Letters:
    if letters is None:
        raise HTTPException(501, "this process has no master key; use `kith dead-letters` where there is one")
    return letters
