"""The client of the privacy service of a command's stack."""

from urllib.parse import quote

from services.cli.service_client import KEY_VARIABLE, ServiceClient, service_client
from shared.settings import Settings

__all__ = ["KEY_VARIABLE", "PrivacyClient", "client_of", "consumer_path"]

PrivacyClient = ServiceClient


def client_of(settings: Settings, url: str | None, tenant: str | None = None) -> PrivacyClient:
    """The privacy service at ``url``, else that of the settings."""
    return service_client(settings, "privacy", "admin", url, tenant)


def consumer_path(consumer_id: str, **parameters: str) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"/v1/consumers/{quote(consumer_id, safe='')}?{query}"
