"""Credentials that say what they may, and what goes on record: in place of keys and the audit."""

from collections.abc import Sequence
from concurrent.futures import Future

from shared.access.audit import Act
from shared.http.caller import Caller, unauthorized


class Keys:
    """Keys whose texts say what they may, and to which purpose they are bound: ``kith_relations:read/amount``,
    ``kith_relations:read,admin//mail``. ``kith_wrong`` is none."""

    async def caller(self, text: str) -> Caller:
        scopes, masks, purpose = (*text.removeprefix("kith_").split("/"), "", "")[:3]
        if scopes == "wrong":
            raise unauthorized("no such key")
        return Caller(
            "default",
            frozenset(scopes.split(",")),
            tuple(filter(None, masks.split(","))),
            "ann",
            "k1",
            purpose=purpose or None,
        )


class RecordsAtOnce:
    """An audit that has what it is told at once."""

    def record(self, *acts: Act) -> None:
        raise NotImplementedError

    def submit(self, acts: Sequence[Act]) -> "Future[None]":
        self.record(*acts)
        done: Future[None] = Future()
        done.set_result(None)
        return done


class Journal(RecordsAtOnce):
    """Keeps the acts that are recorded."""

    def __init__(self) -> None:
        self.acts: list[Act] = []

    def record(self, *acts: Act) -> None:
        self.acts += acts
