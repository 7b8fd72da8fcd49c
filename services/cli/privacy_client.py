"""The client of the privacy service of a command's stack."""

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.local.contexts import running
from shared.settings import Settings

KEY_VARIABLE = "KITH_KEY"
_SECONDS = 30.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True, slots=True)
class PrivacyClient:
    """``base`` is the service's address without a slash at the end; ``key`` None sends no credential."""

    base: str
    key: str | None = None
    tenant: str | None = None

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """The JSON of an answer. Raises Unavailable, and ConfigurationError with the service's reason."""
        request = urllib.request.Request(f"{self.base}{path}", method=method)
        if self.key is not None:
            request.add_header("Authorization", f"Bearer {self.key}")
        if self.tenant is not None:
            request.add_header("Kith-Tenant", self.tenant)
        # No proxy: the service belongs to this installation.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                detail = _detail(error.read())
            if error.code == 503:
                raise Unavailable(f"the privacy service: {detail}") from None
            if error.code == 401:
                detail += f"; {KEY_VARIABLE} holds the key (scope admin)"
            raise ConfigurationError(
                f"the privacy service rejected the request ({error.code}): {detail}"
            ) from None
        except (OSError, ValueError) as error:
            raise Unavailable(f"the privacy service at {self.base}: {error}") from None


def client_of(settings: Settings, url: str | None, tenant: str | None = None) -> PrivacyClient:
    """The privacy service at ``url``, else that of the settings; the key of the environment, else of the stack."""
    if url is None:
        scheme = "https" if settings.tls_cert_file else "http"
        url = f"{scheme}://{_ANYWHERE.get(settings.host, settings.host)}:{settings.privacy_port}"
    return PrivacyClient(url.rstrip("/"), os.environ.get(KEY_VARIABLE) or _key_of_stack(settings), tenant)


def consumer_path(consumer_id: str, **parameters: str) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"/v1/consumers/{quote(consumer_id, safe='')}?{query}"


def _key_of_stack(settings: Settings) -> str | None:
    """The key that the stack with these servers has made for its user."""
    for context in running():
        if context.api_key_file and context.settings.get("mongo") == settings.mongo:
            file = Path(context.api_key_file)
            if file.exists():
                return file.read_text().strip() or None
    return None


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "it gives no reason"
