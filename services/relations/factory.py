"""Builds the relations projection from the settings and the vault."""

from services.relations.projection import RelationsProjection
from services.relations.sealing import SealedProjection
from services.relations.strength import Strength
from shared.contracts.topics import Topics
from shared.erasure.records import hashed
from shared.runtime.protocols import Store
from shared.settings import Settings
from shared.vault.key_requests import VaultStore
from shared.vault.keys import Vault


def strength_of(settings: Settings) -> Strength:
    return Strength(settings.kind_weights, settings.half_life_months)


def build_projection(settings: Settings, vault: Vault | None) -> RelationsProjection | SealedProjection:
    """The projection. With a vault, its store must answer for keys: ``with_keys``."""
    projection = RelationsProjection(
        Topics(settings.topic_prefix),
        strength_of(settings),
        settings.max_future_seconds,
        facts_only=settings.relations_facts_only,
        pseudonym=hashed if vault is None else vault.pseudonym,
        keys_topic=settings.keys_topic == "on" and vault is not None,
    )
    if vault is None:
        return projection
    return SealedProjection(projection, refuse=settings.plaintext == "refuse")


def with_keys(store: Store, vault: Vault | None) -> Store:
    """``store``, which also answers for the keys of ``vault``."""
    return store if vault is None else VaultStore(store, vault)
