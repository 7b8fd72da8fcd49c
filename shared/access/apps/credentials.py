"""Bearer tokens of two kinds: those of applications, and those of an identity provider."""

from typing import Protocol

from shared.access.apps.tokens import AppTokens
from shared.http.caller import Caller, unauthorized


class Credentials(Protocol):
    async def caller(self, text: str) -> Caller: ...


class BearerTokens:
    """Finds the caller of a token. ``others`` is None where no identity provider is trusted."""

    def __init__(self, apps: AppTokens, others: Credentials | None) -> None:
        self._apps, self._others = apps, others

    async def caller(self, text: str) -> Caller:
        """Raises Denied (401, 403) and Unavailable."""
        if self._apps.accepts(text):
            return await self._apps.caller(text)
        if self._others is None:
            raise unauthorized("credentials of this kind are not accepted here")
        return await self._others.caller(text)
