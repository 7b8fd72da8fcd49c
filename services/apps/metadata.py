"""The metadata of an application, in the names of RFC 7591: what is taken, and what is answered. Pure."""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from services.apps.oauth import OAuthError
from shared.access.apps.model import App
from shared.access.lineage import Count, DerivedFrom, Label
from shared.contracts.wording import in_words

_SET_BY_KITH = (
    *("registration_access_token", "registration_client_uri"),
    *("client_secret_expires_at", "client_id_issued_at"),
)


def _is_printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be printable text")
    return text.strip()


def _is_https(text: str) -> str:
    url = urlsplit(text)  # raises ValueError
    if url.scheme != "https" or not url.hostname or not text.isprintable() or " " in text:
        raise ValueError("must be an https URL")
    return text


def _has_client_credentials(types: list[str]) -> list[str]:
    if "client_credentials" not in types:
        raise ValueError("must contain client_credentials, which is the only one here")
    return types


Url = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(_is_https)]
Text = Annotated[str, StringConstraints(max_length=200), AfterValidator(_is_printable)]
Grants = Annotated[list[Text], AfterValidator(_has_client_credentials)]


class Registration(BaseModel):
    """What a developer states of an application. Further members are ignored, as RFC 7591 demands."""

    model_config = ConfigDict(extra="ignore", strict=True)

    client_name: Annotated[str, StringConstraints(max_length=100), AfterValidator(_is_printable)] = Field(
        description="The name that consumers and the tenant read."
    )
    scope: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="The scopes that it wants, separated by spaces: see `GET /v1/apps/scopes`."
    )
    client_uri: Url | None = Field(None, repr=False, description="Its page on the web.")
    logo_uri: Url | None = Field(None, repr=False)
    policy_uri: Url | None = Field(None, repr=False, description="How it uses personal data.")
    tos_uri: Url | None = Field(None, repr=False, description="Its terms of service.")
    contacts: list[Text] = Field([], max_length=10, description="Who is responsible, as e-mail addresses.")
    software_id: Text | None = None
    software_version: Text | None = None
    grant_types: Grants = Field(["client_credentials"], max_length=10)
    response_types: list[Text] = Field([], max_length=0, description="None: there are no redirects.")
    token_endpoint_auth_method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"


def stated(body: Any) -> Registration:
    """What a body states. Raises OAuthError (invalid_client_metadata)."""
    try:
        return Registration.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = in_words(first)
        raise OAuthError("invalid_client_metadata", f"{place}: {said}" if place else said) from None


def check_replacement(body: dict[str, Any], app: App) -> None:
    """Raise OAuthError for a body that cannot replace the registration of ``app`` (RFC 7592, 2.2)."""
    if body.get("client_id") != app.id:
        raise OAuthError("invalid_client_metadata", "client_id: must be that of the application")
    for name in _SET_BY_KITH:
        if name in body:
            raise OAuthError("invalid_client_metadata", f"{name}: is set by Kith; leave it out")


def applied(app: App, registration: Registration) -> App:
    """``app`` with what its developer states. The next revision."""
    return app.next(
        name=registration.client_name,
        requested=tuple(sorted(set(registration.scope.split()))),
        uri=registration.client_uri,
        logo_uri=registration.logo_uri,
        policy_uri=registration.policy_uri,
        tos_uri=registration.tos_uri,
        contacts=tuple(registration.contacts),
        software_id=registration.software_id,
        software_version=registration.software_version,
        auth_method=registration.token_endpoint_auth_method,
    )


class LimitsOfApp(BaseModel):
    requests: Label = Field(description="Requests, as in `10/second`, per process of a service.")
    events_a_day: Count = Field(description="Events that it may send in a day (UTC).")
    endpoints: Count = Field(description="Endpoints of webhooks.")
    webhooks: Label = Field(description="Deliveries to them, as in `50/second`, per process of the service.")


class SecretOfApp(BaseModel):
    secret: Label = Field(repr=False, description="The part of the secret that may be shown: `kiths_<this>_…`.")
    created: Annotated[datetime, DerivedFrom()]
    ends: Annotated[datetime, DerivedFrom()]
    client_secret: Label | None = Field(None, repr=False, description="The whole secret. It is not shown again.")
    valid: Annotated[bool, DerivedFrom()]


class RegistrationToken(BaseModel):
    registration_access_token: Label = Field(repr=False, description="It is not shown again.")


class Application(BaseModel):
    """An application: its metadata by RFC 7591, and what the tenant has decided."""

    client_id: Label
    client_name: Label
    client_uri: Label | None = Field(None, repr=False)
    logo_uri: Label | None = Field(None, repr=False)
    policy_uri: Label | None = Field(None, repr=False)
    tos_uri: Label | None = Field(None, repr=False)
    contacts: list[Label]
    scope: Label = Field(description="The scopes that it requests.")
    software_id: Label | None = None
    software_version: Label | None = None
    grant_types: list[Label]
    response_types: list[Label]
    token_endpoint_auth_method: Label
    client_id_issued_at: Count = Field(description="Seconds since 1970.")
    registration_client_uri: Label = Field(
        repr=False, description="Where its registration is read and changed (RFC 7592)."
    )
    client_secret: Label | None = Field(
        None, repr=False, description="Only in the answer to the registration. It is not shown again."
    )
    client_secret_expires_at: Count | None = Field(None, description="Seconds since 1970.")
    registration_access_token: Label | None = Field(None, repr=False, description="As client_secret.")
    state: Annotated[Literal["pending", "approved", "suspended"], DerivedFrom()]
    reason: Label | None = Field(None, description="Why it is suspended.")
    granted: list[Label] = Field(description="The scopes that the tenant has granted.")
    purpose: Label = Field(description="The purpose that consumers grant it: `consent: {purpose: true}`.")
    masks: list[Label] = Field(description="Fields that stay hidden from it.")
    limits: LimitsOfApp
    revision: Count = Field(description="Rises with every change; an approval states the one that was seen.")
    secrets: list[SecretOfApp]


class ApplicationList(BaseModel):
    items: list[Application]


def shown(app: App, issuer: str, now: datetime, **once: Any) -> dict[str, Any]:
    """An application as the API shows it. ``once`` are the values that are shown only now."""
    texts = {
        "client_uri": app.uri,
        "logo_uri": app.logo_uri,
        "policy_uri": app.policy_uri,
        "tos_uri": app.tos_uri,
        "software_id": app.software_id,
        "software_version": app.software_version,
        "reason": app.reason,
    }
    return {
        "client_id": app.id,
        "client_name": app.name,
        **{name: value for name, value in texts.items() if value is not None},
        "contacts": list(app.contacts),
        "scope": " ".join(app.requested),
        "grant_types": ["client_credentials"],
        "response_types": [],
        "token_endpoint_auth_method": app.auth_method,
        "client_id_issued_at": int(app.created.timestamp()),
        "registration_client_uri": f"{issuer}/register/{app.id}",
        "state": app.state,
        "granted": list(app.scopes),
        "purpose": app.purpose,
        "masks": list(app.masks),
        "limits": {
            "requests": app.limits.requests,
            "events_a_day": app.limits.events_a_day,
            "endpoints": app.limits.endpoints,
            "webhooks": app.limits.webhooks,
        },
        "revision": app.revision,
        "secrets": [
            {"secret": each.id, "created": each.created, "ends": each.ends, "valid": now < each.ends}
            for each in app.secrets
        ],
        **once,
    }
