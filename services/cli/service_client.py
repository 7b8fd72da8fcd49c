"""A client of a service of a command's stack."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.local.contexts import running
from shared.settings import Settings

KEY_VARIABLE = "KITH_KEY"
_SECONDS = 30.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """``base`` is the service's address without a slash at the end; ``key`` None sends no credential. ``scope`` is
    named where the credential is refused."""

    service: str
    base: str
    scope: str
    key: str | None = field(default=None, repr=False)
    tenant: str | None = None

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON of an answer, empty where there is none. Raises Unavailable, and ConfigurationError with the
        service's reason."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self.key is not None:
            request.add_header("Authorization", f"Bearer {self.key}")
        if self.tenant is not None:
            request.add_header("Kith-Tenant", self.tenant)
        # No proxy: the service belongs to this installation.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_SECONDS) as answer:
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            with error:
                detail = _detail(error.read())
            if error.code == 503:
                raise Unavailable(f"the {self.service} service: {detail}") from None
            if error.code == 401:
                detail += f"; {KEY_VARIABLE} holds the key (scope {self.scope})"
            raise ConfigurationError(
                f"the {self.service} service rejected the request ({error.code}): {detail}"
            ) from None
        except (OSError, ValueError) as error:
            raise Unavailable(f"the {self.service} service at {self.base}: {error}") from None


def service_client(
    settings: Settings, service: str, scope: str, url: str | None, tenant: str | None = None
) -> ServiceClient:
    """The service at ``url``, else that of the settings; the key of the environment, else of the stack."""
    if url is None:
        scheme = "https" if settings.tls_cert_file else "http"
        port = getattr(settings, f"{service}_port")
        url = f"{scheme}://{_ANYWHERE.get(settings.host, settings.host)}:{port}"
    key = os.environ.get(KEY_VARIABLE) or _key_of_stack(settings)
    return ServiceClient(service, url.rstrip("/"), scope, key, tenant)


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
