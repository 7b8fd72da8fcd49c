"""New ids, secrets and registration tokens. Their forms are in ``shared.access.apps.model``."""

import secrets
from datetime import datetime

from shared.access.apps.model import Secret, digest

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new_app_id() -> str:
    return f"app_{_random(16)}"


def new_secret(created: datetime, ends: datetime) -> tuple[Secret, str]:
    """A new secret, and its text, which is not stored."""
    id = _random(8)
    text = f"kiths_{id}_{secrets.token_urlsafe(32)}"
    return Secret(id, digest(text), created, ends), text


def new_registration_token(app: str) -> str:
    return f"kithr_{app}_{secrets.token_urlsafe(32)}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
