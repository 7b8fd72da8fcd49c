"""Learned models in MongoDB: versions of each tenant, of which at most one answers."""

from datetime import datetime
from typing import Any

from pymongo.database import Database

from services.intelligence.schema import MODELS
from shared.contracts.errors import ConfigurationError
from shared.contracts.events import document_id
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: The name of the models that `kith learn` makes.
LOGIT = "logit"


class Models:
    """Every method raises Unavailable."""

    def __init__(self, database: Database[Document]) -> None:
        self._models = database.get_collection(MODELS, write_concern=DURABLE)

    def live(self, tenant: str) -> Document | None:
        """The model that answers; None where the walk does."""
        with translated():
            return self._models.find_one({"tenant": tenant, "live": True})

    def all(self, tenant: str, name: str | None = None) -> list[Document]:
        """All versions, the latest first."""
        wanted: Document = {"tenant": tenant} | ({} if name is None else {"name": name})
        with translated():
            return list(self._models.find(wanted).sort([("name", 1), ("version", -1)]).limit(1_000))

    def add(self, tenant: str, lesson: Document, at: datetime) -> Document:
        """Store what was learned (``Lesson.document``) as the next version, which does not answer yet."""
        known = self.all(tenant, LOGIT)
        version = known[0]["version"] + 1 if known else 1
        model: Document = {
            "_id": document_id(tenant, LOGIT, str(version)),
            "tenant": tenant,
            "name": LOGIT,
            "version": version,
            "live": False,
            "learned": at,
            "parameters": lesson["model"],
            "digest": lesson["model"]["digest"],
            "evaluation": lesson["evaluation"],
        }
        with translated():
            self._models.insert_one(model)
        return model

    def switch(self, tenant: str) -> Document:
        """Let the latest version answer. Raises ConfigurationError where there is none, or where it does not beat
        the walk on the tenant's own relations by more than chance."""
        known = self.all(tenant, LOGIT)
        if not known:
            raise ConfigurationError(f"tenant {tenant!r} has no model; `kith learn --tenant {tenant}` makes one")
        latest = known[0]
        if not latest["evaluation"]["accepted"]:
            raise ConfigurationError(
                f"model {latest['name']}:{latest['version']} does not beat the walk by more than chance, so it is "
                "not used"
            )
        self._let_answer(tenant, latest)
        return latest

    def rollback(self, tenant: str) -> Document | None:
        """Let the accepted version before the live one answer, or the walk (None) where there is none."""
        known = self.all(tenant, LOGIT)
        live = next((each for each in known if each["live"]), None)
        if live is None:
            raise ConfigurationError(f"tenant {tenant!r} uses no model, so there is nothing to go back from")
        before = next(
            (e for e in known if e["version"] < live["version"] and e["evaluation"]["accepted"]),
            None,
        )
        self._let_answer(tenant, before)
        return before

    def _let_answer(self, tenant: str, chosen: Document | None) -> None:
        kept: Any = None if chosen is None else chosen["_id"]
        with translated():
            # The old one first: in between the walk answers.
            self._models.update_many(
                {"tenant": tenant, "live": True, "_id": {"$ne": kept}}, {"$set": {"live": False}}
            )
            if chosen is not None:
                self._models.update_one({"_id": kept}, {"$set": {"live": True}})
