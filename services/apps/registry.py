"""What may be done with applications: register, approve, change secrets. Decides; the store keeps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.apps.minting import new_app_id, new_registration_token, new_secret
from shared.access.apps.compliance import uninstalled
from shared.access.apps.model import (
    MOST_SECRETS,
    SCOPES_OF_APPS,
    App,
    Limits,
    RevokedToken,
    Secret,
    digest,
    secret_of,
)
from shared.access.apps.store import AppStore, Full
from shared.access.apps.tokens import TOKEN_SECONDS
from shared.access.keys import check_limit
from shared.access.lineage import is_maskable
from shared.contracts.errors import ConfigurationError

#: Secrets end, so that a forgotten one does not open the door for ever.
SECRET_DAYS = 365
MOST_APPS = 200
#: Access tokens that may be revoked before their end, at once.
MOST_REVOKED = 1_000
_TRIES = 20


class NotPossible(Exception):
    """What was asked is not possible: a sentence for a person."""


class Changed(Exception):
    """The application was changed or deleted by another process."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A new application, with what is shown once."""

    app: App
    secret: Secret = field(repr=False)
    secret_text: str = field(repr=False)
    registration_token: str = field(repr=False)


class Registry:
    """Methods raise Unavailable, NotPossible, and Changed where an application is replaced."""

    def __init__(self, store: AppStore, clock: Callable[[], datetime]) -> None:
        self._store, self._now = store, clock

    def clock(self) -> datetime:
        """Now, in MongoDB's precision."""
        now = self._now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def find(self, tenant: str, id: str) -> App | None:
        app = self._store.find(id)
        return app if app is not None and app.tenant == tenant else None

    def client(self, id: str, secret: str) -> tuple[App, Secret] | None:
        """The application and the valid secret of these client credentials."""
        app = self._store.find(id)
        found = None if app is None else secret_of(app, secret, self.clock())
        return None if app is None or found is None else (app, found)

    def all(self, tenant: str) -> list[App]:
        return self._store.all(tenant)

    def register(self, app: App) -> Registered:
        """Store ``app`` as a pending one with a new id, secret and registration token."""
        check_scopes(app.requested)
        while True:
            now, id = self.clock(), new_app_id()
            secret, text = new_secret(now, now + timedelta(days=SECRET_DAYS))
            token = new_registration_token(id)
            made = replace(app, id=id, created=now, secrets=(secret,), registration=digest(token))
            try:
                if self._store.insert(made, MOST_APPS):
                    return Registered(made, secret, text, token)
            except Full:
                raise NotPossible(f"the tenant has {MOST_APPS} applications, which is the most") from None

    def change(self, app: App, after: App) -> App:
        """Store what its developer has changed. A scope that is not requested any more is not granted either;
        one that is new waits for the tenant."""
        check_scopes(after.requested)
        if app.state != "pending" and after.name != app.name:
            raise NotPossible(
                "client_name: consumers and the tenant have agreed to it; only the tenant can change it"
            )
        return self._replace(app, replace(after, scopes=tuple(s for s in app.scopes if s in after.requested)))

    def approve(
        self,
        app: App,
        scopes: Sequence[str] | None = None,
        limits: Limits | None = None,
        masks: Sequence[str] | None = None,
        name: str | None = None,
    ) -> App:
        """Let an application work. What is None stays as it is; of scopes, it gets all that it requests where none
        were granted yet."""
        wanted = tuple(sorted(set((app.scopes or app.requested) if scopes is None else scopes)))
        check_scopes(wanted)
        if beyond := [scope for scope in wanted if scope not in app.requested]:
            raise NotPossible(f"scopes: the application does not request {', '.join(beyond)}")
        if not wanted:
            raise NotPossible("scopes: an application without a scope can do nothing")
        hidden = app.masks if masks is None else tuple(sorted(set(masks)))
        if unknown := [mask for mask in hidden if not is_maskable(mask)]:
            raise NotPossible(f"masks: {unknown[0]} is not a field that can be hidden")
        return self._replace(
            app,
            app.next(
                state="approved",
                scopes=wanted,
                limits=checked(limits or app.limits),
                masks=hidden,
                name=name or app.name,
                reason=None,
            ),
        )

    def suspend(self, app: App, reason: str | None) -> App:
        return self._replace(app, app.next(state="suspended", reason=reason))

    def add_secret(
        self, app: App, days: int = SECRET_DAYS, others_end: timedelta | None = None
    ) -> tuple[App, Secret, str]:
        """A further secret, and its text. ``others_end``: how long the former ones are valid, at most; None: as
        before."""
        now = self.clock()
        valid = app.valid_secrets(now)
        if len(valid) >= MOST_SECRETS:
            raise NotPossible(
                f"the application has {MOST_SECRETS} valid secrets, which is the most; remove one first"
            )
        if others_end is not None:
            valid = tuple(replace(each, ends=min(each.ends, now + others_end)) for each in valid)
        secret, text = new_secret(now, now + timedelta(days=days))
        ended = tuple(each for each in self._lasting(app, now) if all(each.id != other.id for other in valid))
        return self._replace(app, app.next(secrets=(*ended, *valid, secret))), secret, text

    def remove_secret(self, app: App, id: str) -> App:
        """End a secret now, and the tokens that were issued for it."""
        now = self.clock()
        self.check_secret(app, id)
        left = tuple(each for each in self._lasting(app, now) if each.id != id)
        return self._replace(app, app.next(secrets=left))

    def check_secret(self, app: App, id: str) -> None:
        """Raise NotPossible for what is not the id of a valid secret. It may be a whole secret, by mistake, so it
        is not quoted."""
        if all(each.id != id for each in app.valid_secrets(self.clock())):
            raise NotPossible(
                "the application has no valid secret with this id; GET the application for its secrets"
            )

    def renew_registration(self, app: App) -> tuple[App, str]:
        """A new registration token. The former one is not valid any more."""
        token = new_registration_token(app.id)
        return self._replace(app, app.next(registration=digest(token))), token

    def revoke_token(self, app: App, jti: str, ends: datetime) -> App:
        """Revoke an access token of the application. One that is revoked or has ended changes nothing."""
        for _ in range(_TRIES):
            now = self.clock()
            revoked = tuple(each for each in app.revoked if now < each.ends)
            if ends <= now or any(each.jti == jti for each in revoked):
                return app
            if len(revoked) >= MOST_REVOKED:
                raise NotPossible(f"{MOST_REVOKED} tokens that have not ended are revoked, which is the most")
            after = app.next(revoked=(*revoked, RevokedToken(jti, ends)))
            if self._store.replace(app, after):
                return after
            # A client revokes several at once.
            if (stored := self._store.find(app.id)) is None:
                break
            app = stored
        raise Changed

    def delete(self, app: App) -> None:
        """Delete an application. One that was ever approved is told so."""
        notice = None if app.state == "pending" else uninstalled(app, self.clock())
        if not self._store.delete(app, notice):
            raise Changed

    def _lasting(self, app: App, now: datetime) -> tuple[Secret, ...]:
        """Its secrets whose last token may be valid."""
        return tuple(each for each in app.secrets if now < each.ends + timedelta(seconds=2 * TOKEN_SECONDS))

    def _replace(self, before: App, after: App) -> App:
        if not self._store.replace(before, after):
            raise Changed
        return after


def check_scopes(scopes: Sequence[str]) -> None:
    """Raise NotPossible for a scope that no application can have."""
    if unknown := [scope for scope in scopes if scope not in SCOPES_OF_APPS]:
        raise NotPossible(f"scope: an application cannot have {unknown[0]}; there are {', '.join(SCOPES_OF_APPS)}")


def checked(limits: Limits) -> Limits:
    """The limits. Raises NotPossible for a rate that is none."""
    for name, rate in (("requests", limits.requests), ("webhooks", limits.webhooks)):
        try:
            check_limit(rate)
        except ConfigurationError:
            raise NotPossible(f"{name}: {rate!r} is not a rate such as 10/second or 5000/hour") from None
    return limits
