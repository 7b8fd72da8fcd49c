"""Models of the webhooks API: what it takes and what it answers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from services.webhooks.fanout.expressions import MOST_CHARACTERS, BadExpression, check
from services.webhooks.fanout.subscription import DISABLED, TYPES
from services.webhooks.messages.credentials import names
from services.webhooks.messages.signing import Algorithm
from shared.access.lineage import Count, DerivedFrom, Label
from shared.contracts.events import Id, Kind, Name, ShortText

MOST_LISTED = 100
_OWN_HEADERS = ("webhook-", "svix-", "kith-")
_RESERVED = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent", "content-encoding"}
    | {"te", "trailer", "upgrade", "keep-alive", "proxy-authorization", "expect"}
)
Type = Literal["relation.changed", "consumer.changed", "provider.changed", "webhook.disabled"]
assert {*TYPES, DISABLED} == set(Type.__args__)  # type: ignore[attr-defined]
HeaderValue = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[\x20-\x7e]*$")]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)]


class EndpointChange(BaseModel):
    """What can be changed of an endpoint. A member that is left out stays; null removes it."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] | None = Field(
        None, description="Where deliveries are sent: https, a public address, port 443."
    )
    description: Annotated[str, StringConstraints(max_length=500)] | None = None
    types: list[Type] | None = Field(None, min_length=1, max_length=10, description="Types of changes.")
    kinds: list[Kind] | None = Field(None, max_length=MOST_LISTED, description="Only relations of these kinds.")
    providers: list[Id] | None = Field(None, max_length=MOST_LISTED, description="Only these providers.")
    categories: list[ShortText] | None = Field(
        None,
        max_length=MOST_LISTED,
        description="Only providers that have one of these categories when it is sent.",
    )
    filter: Expression | None = Field(
        None, description="JMESPath over the body; a change is sent if it yields a true value."
    )
    template: Expression | None = Field(None, description="JMESPath that makes the body sent from the body.")
    headers: dict[str, HeaderValue] | None = Field(
        None, max_length=20, description="Further request headers, as an Authorization of the receiver's."
    )
    purpose: Name | None = Field(
        None, description="Only changes of consumers who have granted this purpose when it is sent."
    )

    @field_validator("filter", "template")
    @classmethod
    def _is_expression(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                check(text)
            except BadExpression as error:
                raise ValueError(str(error)) from None
        return text

    @field_validator("headers")
    @classmethod
    def _may_be_set(cls, headers: dict[str, str] | None) -> dict[str, str] | None:
        for name in headers or {}:
            lower = name.lower()
            if not lower.isascii() or not lower.replace("-", "").replace("_", "").isalnum() or len(name) > 100:
                raise ValueError(f"{name[:100]!r} is not the name of a header")
            if lower in _RESERVED or lower.startswith(_OWN_HEADERS):
                raise ValueError(f"the header {name} is set by Kith")
        return None if headers is None else {name.lower(): value for name, value in headers.items()}


class NewEndpoint(EndpointChange):
    """An endpoint to create."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        description="Where deliveries are sent: https, a public address, port 443."
    )
    types: list[Type] = Field(min_length=1, max_length=10, description="Types of changes.")
    algorithm: Algorithm = Field("hmac", description="How deliveries are signed.")
    since: datetime | Literal["beginning"] | None = Field(
        None, description="Also send the changes since this time. Default: from now on."
    )


class Endpoint(BaseModel):
    endpoint: Label
    url: Label
    description: Label | None = None
    types: list[Label]
    kinds: list[Label] | None = None
    providers: list[Label] | None = None
    categories: list[Label] | None = None
    filter: Label | None = None
    template: Label | None = None
    headers: list[Label] | None = Field(None, description="The names; values are not shown.")
    purpose: Label | None = None
    bound: Annotated[bool | None, DerivedFrom()] = Field(
        None, description="True: it belongs to the credentials that are bound to its purpose, and it keeps it."
    )
    masks: list[Label] = Field(description="Fields that stay hidden in its bodies: those of the key that made it.")
    state: Annotated[Literal["enabled", "disabled"], DerivedFrom()]
    reason: Label | None = Field(None, description="Why it is disabled.")
    algorithm: Label
    public_key: Label | None = Field(None, description="With ed25519: what receivers verify with.")
    secret: Label | None = Field(
        None, repr=False, description="Only in the answer that created it. It is not shown again."
    )
    secrets: Count = Field(description="Valid secrets: two or more while one is rotated.")
    created: Annotated[datetime, DerivedFrom()]
    failing_since: Annotated[datetime | None, DerivedFrom()] = None
    queued: Count = Field(
        description="Deliveries that wait, counted up to 10,000. For a credential that is bound to a purpose, "
        "those that were tried: whether the consumers of others have granted it is only found out then."
    )
    failed: Count = Field(description="Deliveries that were given up within 30 days, counted up to 10,000.")
    behind: Count | None = Field(
        None,
        description="Changes that are not enqueued yet: of gaps and replays. Left out for a credential that is "
        "bound to a purpose: they are of all consumers.",
    )


class EndpointList(BaseModel):
    items: list[Endpoint]


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_hours: Annotated[int, Field(ge=0, le=168)] = Field(
        24,
        description="How long deliveries are signed with the former secret as well. 0: all former ones end now.",
    )


class Place(BaseModel):
    """The place of a delivery: its headers kith-origin and kith-number."""

    model_config = ConfigDict(extra="forbid")

    origin: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    number: Annotated[int, Field(ge=0, lt=10**18)]


class Replay(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: datetime | Literal["beginning"] | None = Field(
        None, description="Send again the changes since this time. Default, with `after`: the beginning."
    )
    after: list[Place] | None = Field(
        None,
        min_length=1,
        max_length=MOST_LISTED,
        description="Only changes of these origins with a higher number: what follows the last delivery that was "
        "counted of each.",
    )

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if self.since is None and self.after is None:
            raise ValueError("since or after is needed")
        return self


class Retry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    delivery: str | None = Field(
        None,
        max_length=2_000,
        description="Only this one: given up, or waiting for its next attempt. Default: all that were given up.",
    )
    receipt: str | None = Field(
        None, max_length=2_000, description="Only the delivery of this receipt of an application."
    )
    waiting: bool = Field(False, description="Also all that have failed and wait for their next attempt.")


class Started(BaseModel):
    replay: Label | None = Field(None, description="Value of the header kith-replay of its deliveries.")
    deliveries: Count | None = Field(None, description="Deliveries that are sent again.")
    changes: Count | None = Field(None, description="Changes in the topics that are read again; filters apply.")


class Tested(BaseModel):
    delivery: Label


class Attempt(BaseModel):
    delivery: Annotated[str, DerivedFrom()]
    webhook_id: Label
    type: Label
    subject: Annotated[str, DerivedFrom("consumer_id", "provider_id")]
    attempt: Count
    at: Annotated[datetime, DerivedFrom()]
    milliseconds: Count
    outcome: Annotated[Literal["delivered", "failed", "given_up", "dropped"], DerivedFrom()]
    status: Count | None = None
    answer: Label | None = Field(None, description="The first KiB of the receiver's answer.")
    error: Label | None = None


class AttemptPage(BaseModel):
    items: list[Attempt] = Field(description="Latest first.")
    next: Label | None = Field(description="The cursor of the next page; null on the last one.")


def shown(stored: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A stored endpoint as the API shows it, with the counts ``more``."""
    kept = (
        *(
            "url",
            "description",
            "types",
            "kinds",
            "providers",
            "categories",
            "filter",
            "template",
            "purpose",
            "bound",
        ),
        *("masks", "state", "reason", "created", "failing_since"),
    )
    answer = {name: stored[name] for name in kept if name in stored}
    if (headers := names(stored)) is not None:
        answer["headers"] = headers
    return {"endpoint": stored["_id"].partition(":")[2], **answer, **more}
