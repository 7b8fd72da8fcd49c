"""An application of a third party: it registers, is approved, and gets webhooks of consumers who agree to it."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import httpx
from pymongo.database import Database

from services.demo.changelog import ChangeLog
from services.demo.comparison import Findings
from services.demo.oracle import Expected
from services.demo.receiver import Place, Receiver
from shared.contracts.errors import ConfigurationError, Unavailable

NAME = "Lake Bonus"
#: Consumers whom it asks, of the most active ones; every other one agrees. Few, so that the demo stays fast.
_ASKED = tuple(f"c-{number:05}" for number in range(10))
AGREE, DISAGREE = _ASKED[::2], _ASKED[1::2]
_SCOPES = "relations:read webhooks:manage"
#: Deliveries, beyond what the market causes: at the usual rate the demo would wait for them at its end.
_RATE = "2000/second"
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Webhooks:
    """What became of the deliveries: ``owed`` are the changes of consumers who have agreed and were not erased,
    ``arrived`` those of them that did, ``repeated`` the deliveries of a change that had arrived before,
    ``refused`` those whose signature was not valid. ``findings`` are the differences."""

    owed: int = 0
    arrived: int = 0
    repeated: int = 0
    refused: int = 0
    findings: Findings = field(default_factory=Findings)

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("owed", "arrived", "repeated", "refused")}


class Application:
    """Context manager: an approved application of ``tenant`` with one endpoint, until the end of the block.

    ``accepted`` gets each event that records a consumer's consent, once the door has accepted it. Raises
    ConfigurationError for a request that a service rejects, Unavailable for a service that does not answer.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        headers: Mapping[str, str],
        tenant: str,
        database: Database[dict[str, Any]],
        accepted: Callable[[dict[str, Any]], None],
    ) -> None:
        self._addresses, self._tenant, self._database, self._accepted = addresses, tenant, database, accepted
        # No proxy, even if the environment sets one: the services are on this machine.
        self._client = httpx.Client(timeout=30, trust_env=False, headers=headers)
        self._receiver = Receiver()
        self.id = ""
        self._endpoint = self._registration = ""

    def __enter__(self) -> Self:
        self._receiver.__enter__()
        try:
            self._register()
            self._agree()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away again: nobody listens any more."""
        try:
            if self._endpoint:
                self._client.delete(f"{self._addresses['webhooks']}/v1/webhooks/endpoints/{self._endpoint}")
            if self.id:
                self._client.delete(f"{self._addresses['apps']}/v1/apps/{self.id}")
        except httpx.TransportError:
            pass  # The stack has ended before.
        self._client.close()
        self._receiver.__exit__()

    @property
    def links(self) -> dict[str, str]:
        """A link to the developer portal, signed in as the application; where access is open, nobody signs in."""
        if "Authorization" not in self._client.headers:
            return {}
        return {"portal": f"{self._addresses['apps']}/portal/#key={self._registration}"}

    def _register(self) -> None:
        apps, webhooks = self._addresses["apps"], self._addresses["webhooks"]
        made = self._post(f"{apps}/register", {"client_name": NAME, "scope": _SCOPES})
        self.id, self._registration = made["client_id"], made["registration_access_token"]
        self._post(f"{apps}/v1/apps/{self.id}/approve", {"scopes": _SCOPES.split(), "webhooks": _RATE})
        token = self._token(apps, made["client_secret"])
        # Of all the others it would get nothing, after a look at the consent for each of their changes.
        wanted = ", ".join(f"'{consumer}'" for consumer in _ASKED)
        endpoint = self._post(
            f"{webhooks}/v1/webhooks/endpoints",
            {
                "url": self._receiver.url,
                "types": ["relation.changed"],
                "purpose": self.id,
                "filter": f"contains([{wanted}], data.consumer_id)",
            },
            {"Authorization": f"Bearer {token}"},
        )
        self._endpoint, self._receiver.secret = endpoint["endpoint"], endpoint["secret"]

    def _token(self, apps: str, secret: str) -> str:
        form = {"grant_type": "client_credentials"}
        answer = httpx.post(f"{apps}/oauth/token", data=form, auth=(self.id, secret), timeout=30, trust_env=False)
        return str(_checked(answer)["access_token"])

    def _agree(self) -> None:
        """Record who agrees, and wait until it is stored: what happens from then on is owed."""
        now = datetime.now().astimezone().isoformat()
        events = [self._consent(consumer, now) for consumer in AGREE]
        self._post(
            f"{self._addresses['ingest']}/v1/events",
            events,
            {"Content-Type": "application/cloudevents-batch+json"},
        )
        for event in events:
            self._accepted(event)
        query = {"tenant": self._tenant, f"consent.{self.id}": True}
        self._wait(
            lambda: self._database.consumers.count_documents(query) == len(AGREE), "the consents are not stored"
        )

    def _consent(self, consumer: str, time: str) -> dict[str, Any]:
        event = {
            "specversion": "1.0",
            "id": f"{self.id}-{consumer}",
            "source": "/lake/bonus",
            "type": "consumer.upserted",
            "time": time,
            "data": {"consumer_id": consumer, "consent": {self.id: True}},
        }
        return event if self._tenant == "default" else {**event, "tenant": self._tenant}

    def wait(self) -> None:
        """Return when nothing is queued for the endpoint. Raises Unavailable when that takes too long."""
        queued = {"endpoint": f"{self._tenant}:{self._endpoint}", "state": "queued"}
        self._wait(
            lambda: self._database.webhook_deliveries.find_one(queued) is None, "webhooks are still to be sent"
        )

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > until:
                raise Unavailable(f"after {_PATIENCE_SECONDS:.0f} s {otherwise}")
            time.sleep(_LOOK_SECONDS)

    def judge(self, log: ChangeLog, expected: Expected) -> Webhooks:
        """Compare what has arrived with the log of changes."""
        erased = {key[1] for key, each in expected.consumers.items() if "erased" in each}
        return judged(log.of(self._tenant), [each for each in AGREE if each not in erased], erased, self._receiver)

    def _post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return _checked(self._client.post(url, json=body, headers=headers))


def judged(
    changes: Mapping[Place, dict[str, Any]], agreed: Sequence[str], erased: set[str], receiver: Receiver
) -> Webhooks:
    """Each change of a consumer who has ``agreed`` has arrived as it is in the log, in its order; and none of
    anybody else. What is sent of ``erased`` consumers depends on the moment, so it is left out."""
    result = Webhooks(refused=receiver.refused)
    found, places = result.findings, defaultdict[str, list[Place]](list)
    arrived: dict[Place, dict[str, Any]] = {}
    for delivery in list(receiver.received):
        consumer = delivery.body["data"]["consumer_id"]
        if consumer in erased:
            continue
        if delivery.place in arrived:
            result.repeated += 1
            continue
        arrived[delivery.place] = delivery.body
        places[consumer].append(delivery.place)
        if consumer not in agreed:
            found.add("webhooks", delivery.id, "", None, delivery.body)
    for place, change in changes.items():
        if change["data"]["consumer_id"] not in agreed:
            continue
        result.owed += 1
        body = arrived.get(place)
        wanted = {"type": change["type"], "timestamp": change["time"], "data": change["data"]}
        result.arrived += body is not None
        if body != wanted:
            found.add("webhooks", change["id"], "", wanted, body)
    for consumer, order in places.items():
        if order != sorted(order):
            found.add("webhooks", consumer, "order", sorted(order), order)
    if receiver.refused:
        found.add("webhooks", "", "deliveries without a valid signature", 0, receiver.refused)
    return result


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code >= 400:
        raise ConfigurationError(f"{answer.request.url} answered {answer.status_code}: {answer.text[:300]}")
    body: dict[str, Any] = answer.json()
    return body
