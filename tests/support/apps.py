"""Applications for tests: a clock to turn, a registry and a signer over memory."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.apps.key_pairs import MemoryKeyPairs
from services.apps.registry import Registered, Registry
from services.apps.signing import Signer
from shared.access.apps.memory import MemoryApps
from shared.access.apps.model import App
from shared.access.apps.store import AppStore
from shared.vault.keys import Vault
from shared.vault.memory_store import MemoryKeyStore
from tests.support.vault import MASTERS

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
ISSUER = "https://kith.example"


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def elapsed(self) -> float:
        return (self.now - START).total_seconds()

    def turn(self, seconds: float = 0.0, **more: float) -> None:
        self.now += timedelta(seconds=seconds, **more)


@dataclass
class Platform:
    """A registry and a signer that share a clock."""

    store: AppStore = field(default_factory=MemoryApps)
    clock: Clock = field(default_factory=Clock)
    pairs: MemoryKeyPairs = field(default_factory=MemoryKeyPairs)

    def __post_init__(self) -> None:
        self.registry = Registry(self.store, self.clock)
        self.vault = Vault(MemoryKeyStore(), MASTERS)
        self.signer = self.new_signer()

    def new_signer(self, issuer: str = ISSUER) -> Signer:
        return Signer(self.pairs, self.vault, issuer, self.clock, self.clock.elapsed)

    def registered(self, *scopes: str, tenant: str = "acme", name: str = "Bonus") -> Registered:
        return self.registry.register(new_app(*scopes, tenant=tenant, name=name))

    def approved(self, *scopes: str, tenant: str = "acme") -> Registered:
        made = self.registered(*scopes, tenant=tenant)
        after = self.registry.approve(made.app)
        return Registered(after, made.secret, made.secret_text, made.registration_token)

    def token(self, made: Registered, *scopes: str, jti: str = "j1") -> str:
        return self.signer.token(made.app, made.secret, scopes or made.app.scopes, jti)


def new_app(*scopes: str, tenant: str = "acme", name: str = "Bonus") -> App:
    wanted = tuple(sorted(scopes or ("relations:read",)))
    return App("app_" + "a" * 16, tenant, name, "pending", wanted, "0" * 64, START, "dev12345")
