"""The request of a delivery: body, headers, signature. Made at each attempt, from what is stored then."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pymongo.database import Database

from services.webhooks.applications import application_of, lacking_scope
from services.webhooks.fanout.expressions import BadExpression
from services.webhooks.fanout.subscription import TYPES
from services.webhooks.messages import credentials, signing
from services.webhooks.messages.body import body_of, encoded, told
from shared.contracts.events import document_id
from shared.erasure.records import Mode
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.tokens import unseal

USER_AGENT = "Kith-Webhooks/1"
#: The place of secrets in the vault: a field of the tenant.
SECRET_FIELD = "webhook.secret"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A request, or the reason why there is none."""

    headers: Mapping[str, str]
    body: bytes
    dropped: str | None = None
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a delivery depends on beside its change: per document id of tenant and consumer whether the purpose is
    granted, and per document id of tenant and provider the categories."""

    consents: Mapping[str, Mapping[str, bool]]
    categories: Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class Opened:
    """What of an endpoint is sealed, in plain text: its valid secrets, the newest first, and its headers."""

    secrets: Collection[str] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Renderer:
    """Makes requests. ``erased`` returns the mode in which a consumer was erased."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        erased: Callable[[str, str], Mode | None],
        vault: Vault | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._names, self._erased, self._vault = database, names, erased, vault
        self._clock = clock

    def known(self, endpoint: Document, delivery: Document) -> Known:
        """Read what the endpoint's purpose and categories need for a delivery. Raises Unavailable."""
        consents: dict[str, Mapping[str, bool]] = {}
        categories: dict[str, Collection[str]] = {}
        tenant = endpoint["tenant"]
        if "purpose" in endpoint and "consumer_id" in delivery:
            field = f"consent.{endpoint['purpose']}"
            for consumer in self._by_id("consumers", {document_id(tenant, delivery["consumer_id"])}, field):
                consents[consumer["_id"]] = consumer.get("consent", {})
        if endpoint.get("categories"):
            ids = {document_id(tenant, id) for id in providers_of(delivery["change"])}
            for provider in self._by_id("providers", ids, "categories"):
                categories[provider["_id"]] = provider.get("categories", ())
        return Known(consents, categories)

    def _by_id(self, collection: str, ids: Collection[str], field: str) -> list[Document]:
        if not ids:
            return []
        with translated():
            query = {"_id": {"$in": list(ids)}}
            return list(self._database[self._names(collection)].find(query, {field: 1}, max_time_ms=QUERY_MS))

    def request(self, endpoint: Document, delivery: Document, known: Known, opened: Opened) -> Rendered:
        """The request of one attempt, signed with the secrets that are ``opened``. Makes no request itself."""
        tenant, change = endpoint["tenant"], delivery["change"]
        consumer = delivery.get("consumer_id")
        erased = consumer is not None and self._erased(tenant, consumer) is not None
        if (reason := self._withheld(endpoint, delivery, known, erased=erased)) is not None:
            return Rendered({}, b"", dropped=reason)
        try:
            if "receipt" in delivery:
                # In the form that is published: a program has to understand it, whatever else the endpoint is for.
                body = encoded(told(change), None)
            else:
                body = encoded(body_of(change, endpoint["masks"], erased=erased), endpoint.get("template"))
        except BadExpression as error:
            return Rendered({}, b"", failed=str(error))
        except ValueError as error:
            return Rendered({}, b"", failed=str(error))
        id, timestamp = signing.message_id(change["id"]), int(self._clock())
        headers = {
            **opened.headers,
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.signatures(id, timestamp, body, opened.secrets),
            "kith-attempt": str(delivery["attempts"] + 1),
        }
        if "origin" in delivery:
            headers |= {"kith-origin": delivery["origin"], "kith-number": str(delivery["number"])}
        if "replay" in delivery:
            headers["kith-replay"] = delivery["replay"]
        return Rendered(headers, body)

    def _withheld(self, endpoint: Document, delivery: Document, known: Known, *, erased: bool) -> str | None:
        """Why the endpoint must not get this delivery. That a consumer is erased is withheld from applications
        only: those that the consumer ever agreed to get a receipt, and no other one may learn of them."""
        change, tenant = delivery["change"], endpoint["tenant"]
        if change["type"] not in TYPES:
            return None
        if (scope := lacking_scope(endpoint, change["type"])) is not None:
            return f"the application no longer has the scope {scope}"
        wanted, named = endpoint.get("categories"), providers_of(change)
        if wanted and named:
            has = {each for id in named for each in known.categories.get(document_id(tenant, id), ())}
            if not has & set(wanted):
                return "the provider has none of the endpoint's categories"
        consumer, gone = delivery.get("consumer_id"), erased or change["data"].get("erased")
        if gone and application_of(endpoint) is not None:
            return "the consumer was erased, of which applications are told by consumer.erased"
        if "purpose" in endpoint and consumer is not None and not gone:
            consents = known.consents.get(document_id(tenant, consumer), {})
            if consents.get(endpoint["purpose"]) is not True:
                return f"the consumer has not granted the purpose {endpoint['purpose']}"
        return None

    def secrets(self, endpoint: Document, now: datetime) -> list[str]:
        """The endpoint's valid secrets, the newest first. Raises Unavailable."""
        valid = [each for each in endpoint["secrets"] if "ends" not in each or each["ends"] > now]
        return [self.opened(endpoint, each["secret"]) for each in reversed(valid)]

    def opened_all(self, endpoint: Document, now: datetime) -> Opened:
        """What of an endpoint is sealed. Raises Unavailable."""
        return Opened(self.secrets(endpoint, now), credentials.opened(self._vault, endpoint))

    def opened(self, endpoint: Document, secret: str) -> str:
        if self._vault is None:
            return secret
        tenant = endpoint["tenant"]
        return str(unseal(self._vault.tenant_key(tenant), tenant, endpoint["_id"], SECRET_FIELD, secret))


def providers_of(change: Document) -> set[str]:
    """The providers that a change names."""
    data = change["data"]
    named = {data.get("provider_id")}
    named |= {state.get("provider_id") for state in (data.get("before"), data.get("after")) if state}
    return {id for id in named if id is not None}
