"""The headers of an endpoint, by which its receiver knows who sends: credentials, sealed as its secret is.

``sealed_headers`` of an endpoint has a token for each. ``headers``, in plain text, is what versions before this
one have stored, and what is stored where there is no vault. Where there are both, such a version was the last to
change them.
"""

import logging
from collections.abc import Mapping

from pymongo.database import Database

from services.webhooks.deliveries import ENDPOINTS
from shared.contracts.errors import Unavailable
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.runtime.protocols import Document
from shared.vault.keys import TENANT, Vault
from shared.vault.protocols import Destroyed
from shared.vault.tokens import Unreadable, seal, unseal

log = logging.getLogger(__name__)

PLAIN, SEALED = "headers", "sealed_headers"


def stored(vault: Vault | None, tenant: str, id: str, headers: Mapping[str, str]) -> Document:
    """The members of an endpoint that have its headers."""
    if vault is None:
        return {PLAIN: dict(headers)}
    key = vault.tenant_key(tenant)
    return {SEALED: {name: seal(key, tenant, id, _field(name), value) for name, value in headers.items()}}


def opened(vault: Vault | None, endpoint: Document) -> dict[str, str]:
    """The headers of an endpoint. Raises Unavailable, and Unreadable."""
    if PLAIN in endpoint or SEALED not in endpoint or vault is None:
        return dict(endpoint.get(PLAIN, {}))
    tenant, id = endpoint["tenant"], endpoint["_id"]
    key = vault.tenant_key(tenant)
    return {name: str(unseal(key, tenant, id, _field(name), token)) for name, token in endpoint[SEALED].items()}


def names(endpoint: Document) -> list[str] | None:
    """The names of its headers; None where it has none."""
    found = endpoint.get(PLAIN, endpoint.get(SEALED))
    return None if found is None else sorted(found)


def seal_all(database: Database[Document], vault: Vault | None, failed: set[str]) -> None:
    """Seal the headers that are stored in plain text. An endpoint at which that fails, for instance because its
    tenant's key is destroyed, holds up no other one, and is named in the log once: ``failed`` has the ids of those
    that were. Raises Unavailable."""
    if vault is None:
        return
    endpoints = durable_database(database)[ENDPOINTS]
    with translated():
        found = list(endpoints.find({PLAIN: {"$exists": True}}, {"tenant": 1, PLAIN: 1}, max_time_ms=5_000))
    for each in found:
        id, tenant = each["_id"], each["tenant"]
        try:
            if isinstance(vault.keys(tenant, [TENANT])[TENANT], Destroyed):
                raise Unreadable("the key of its tenant is destroyed")
            change = {"$set": stored(vault, tenant, id, each[PLAIN]), "$unset": {PLAIN: ""}}
            with translated():
                endpoints.update_one({"_id": id, PLAIN: each[PLAIN]}, change)
        except Unavailable:
            raise
        except Exception as error:
            if id not in failed:
                failed.add(id)
                # Not the error itself, which may quote them.
                log.error("the headers of webhook endpoint %s stay in plain text: %s", id, type(error).__name__)


def _field(name: str) -> str:
    return f"webhook.headers.{name}"
