"""What intelligence concludes from the market: where somebody goes next, and whom a provider calls first."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from services.demo.oracle import Expected, Key

Json = dict[str, Any]
_TIMEOUT_SECONDS = 30.0


def busiest(expected: Expected) -> Key | None:
    """The pair with the most relations; None without any."""
    found = expected.relationships
    return max(found, key=lambda pair: found[pair]["count"], default=None)


def most_visited(expected: Expected) -> str | None:
    """The provider with the most consumers; None without any."""
    found = Counter(provider for _, _, provider in expected.relationships)
    return max(sorted(found), key=found.__getitem__, default=None)


def advice(address: str, headers: Mapping[str, str], consumer: str, provider: str) -> list[str]:
    """A sentence about a consumer, and one about a provider, from the service at ``address``. A service that does
    not answer is said to, for nothing depends on it."""
    with httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        return [
            _asked(client, f"/v1/recommendations?consumer_id={quote(consumer)}", consumer, recommended),
            _asked(client, f"/v1/next?provider_id={quote(provider)}", provider, called),
        ]


def _asked(client: httpx.Client, question: str, id: str, told: Callable[[Json, str], str]) -> str:
    try:
        answer = client.get(f"{question}&limit=1")
    except httpx.HTTPError as error:
        return f"Intelligence did not answer {question} ({type(error).__name__})."
    if answer.status_code != 200:
        return f"Intelligence answered {question} with {answer.status_code}: {answer.text[:300]}"
    return told(answer.json(), id)


def recommended(answer: Json, consumer: str) -> str:
    """The answer of ``/v1/recommendations``."""
    if not answer["items"]:
        return f"{consumer} has no recommendation: {answer['reason']}."
    first = answer["items"][0]
    walks = [reason for reason in first["because"] if reason.get("via")]
    because = ""
    if walks:
        via = walks[0]["via"][0]
        because = f", because of {_named(via)}: {via['shared_consumers']} of its consumers go to both"
    return f"{consumer} may go to {_named(first)} next, the best of {answer['candidates']:,}{because}."


def called(answer: Json, provider: str) -> str:
    """The answer of ``/v1/next``."""
    if not answer["items"]:
        return f"{provider} has nobody to call: {answer['reason']}."
    first = answer["items"][0]
    return (
        f"Of {answer['repeaters']:,} consumers who came back, {provider} calls {first['consumer_id']} first: last "
        f"there in {first['last_month']}, gone for good with a probability of {first['risk']:.0%}; "
        f"{first['expected_months']:.1f} months with a visit are expected in the next {answer['horizon_months']}."
    )


def _named(provider: Json) -> str:
    return str(provider.get("name") or provider["provider_id"])
