"""Checks which services answer: services without a worker have no other sign of life."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from services.cli.up import reachable
from shared.contracts.services import CONNECTORS, SERVICES
from shared.settings import Settings

PATIENCE_SECONDS = 2.0


class Health(NamedTuple):
    """``state`` is ``up``, ``not ready``, ``no answer``, or ``unknown`` if no setting contains its address,
    because it may run elsewhere."""

    service: str
    address: str
    state: str
    detail: str = ""


def look(settings: Settings) -> list[Health]:
    """Check the readiness of every service at its address in the settings. A connector that no setting places and
    that does not answer does not run, and is left out."""
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        found = pool.map(lambda service: _one(service, settings), SERVICES)
        return [one for one in found if one.service not in CONNECTORS or one.state != "unknown"]


def as_json(found: Sequence[Health]) -> list[dict[str, Any]]:
    return [one._asdict() for one in found]


def _one(service: str, settings: Settings) -> Health:
    port = getattr(settings, f"{service}_port")
    if not port:
        return Health(service, "–", "unknown", "its port is any free one")
    secure = settings.tls_cert_file is not None
    address = f"{'https' if secure else 'http'}://{reachable(settings.host)}:{port}"
    handlers: list[Any] = [urllib.request.ProxyHandler({})]
    if secure:
        # The certificate may be for another host name; nothing secret is sent.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(
            f"{address}/health/ready", timeout=PATIENCE_SECONDS
        ) as answer:
            ready = json.load(answer) == {"status": "ready"}
    except urllib.error.HTTPError as error:
        return Health(service, address, *_refused(error))
    except ValueError:
        return Health(service, address, "no answer", "it is another program")
    except (OSError, http.client.HTTPException) as error:
        if f"{service}_port" not in settings.model_fields_set:
            return Health(service, address, "unknown", "nothing answers at its default port on this machine")
        reason = getattr(error, "reason", error)
        return Health(service, address, "no answer", getattr(reason, "strerror", None) or type(reason).__name__)
    return (
        Health(service, address, "up") if ready else Health(service, address, "no answer", "it is another program")
    )


def _refused(error: urllib.error.HTTPError) -> tuple[str, str]:
    with error:
        try:
            return "not ready", str(json.load(error)["detail"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return "no answer", "it is another program"
