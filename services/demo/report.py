"""The final output of the demo: the verdict, the addresses, and requests to try."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rich.console import Console

from services.demo.application import AGREE, DISAGREE, NAME
from services.demo.oracle import Key
from shared.local.contexts import without_password

_SHOWN = 20


def report(
    console: Console,
    addresses: dict[str, str],
    links: Mapping[str, str],
    result: dict[str, Any],
    found: dict[str, int],
    problems: list[str],
    total: int,
    advice: Sequence[str],
    tries: Sequence[str],
) -> None:
    """Print the report. ``result`` has the fields of a Result, ``found`` the number of documents by collection;
    ``problems`` are the first of ``total`` differences, ``links`` those to the tenant's pages, ``advice`` what
    intelligence concludes, ``tries`` commands."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say("")
    say(verdict(result, found, total), "bold green" if result["exact"] else "bold red")
    for problem in problems[:_SHOWN]:
        say(f"  {problem}")
    if total > min(len(problems), _SHOWN):
        say(f"  … and {total - min(len(problems), _SHOWN):,} more")
    latency = result["latency_ms"]
    say(
        f"{result['accepted']:,} events in {result['seconds']:,.1f} s, "
        f"{result['events_per_s']:,.0f} a second; "
        f"{result['sent'] - result['accepted']:,} rejected at the door; {result['changes']:,} changes; "
        f"readable {latency['p50']} ms (p50), {latency['p99']} ms (p99) after the door's answer."
    )
    say(webhooks(result["webhooks"]))
    for sentence in advice:
        say(sentence)
    say("")
    shown = {**{name: without_password(address) for name, address in addresses.items()}, **links}
    width = max(map(len, shown))
    for name, address in shown.items():
        say(f"  {name:<{width}} {address}")
    say("")
    say("Worth trying:")
    for line in tries:
        say(f"  {line}")


def verdict(result: dict[str, Any], found: dict[str, int], total: int) -> str:
    """One sentence: exact, or not."""
    if not result["exact"]:
        return f"NOT EXACT: {total:,} differences from an independent fold of the {result['sent']:,} events sent"
    return (
        f"exact: {result['stored']:,} facts, {result['relationships']:,} relationships and "
        f"{found['aggregates']:,} aggregates equal an independent fold of the {result['sent']:,} events sent"
    )


def webhooks(counts: Mapping[str, int]) -> str:
    """One sentence: what has arrived at the application's receiver."""
    owed, arrived = counts["owed"], counts["arrived"]
    signed = (
        "each signed, in order" if not counts["refused"] else f"{counts['refused']:,} WITHOUT a valid signature"
    )
    return (
        f"{arrived:,} of {owed:,} changes arrived by webhook at an application ({NAME}), {signed}; "
        f"{len(AGREE)} of {len(AGREE) + len(DISAGREE)} consumers whom it asked have agreed."
    )


def dashboard(analytics: str, headers: Mapping[str, str]) -> str:
    """A link to the dashboard that contains the key, or else the tenant."""
    bearer = headers.get("Authorization")
    if bearer is not None:
        return f"{analytics}/dashboard/#key={bearer.removeprefix('Bearer ')}"
    return f"{analytics}/dashboard/?tenant={quote(headers['Kith-Tenant'])}"


def curls(addresses: dict[str, str], headers: Mapping[str, str], pair: Key, visited: str) -> list[str]:
    """The key, and requests about this run's data: its busiest pair, the provider's strongest relationships, the
    top providers, where the consumer may go next, and whom the provider that is ``visited`` most calls."""
    consumer, provider, calling = (quote(part, safe="") for part in (*pair[1:], visited))
    relations, analytics, intelligence = (addresses[name] for name in ("relations", "analytics", "intelligence"))
    said, first = dict(headers), []
    if (bearer := said.get("Authorization")) is not None:
        said["Authorization"] = "Bearer $KITH_KEY"
        first = [f"export KITH_KEY={bearer.removeprefix('Bearer ')}"]
    header = "".join(f'-H "{name}: {value}" ' for name, value in said.items())
    return [
        *first,
        f"curl {header}'{relations}/v1/relationships/{consumer}/{provider}'",
        f"curl {header}'{relations}/v1/relationships?provider_id={provider}&limit=5'",
        f"curl {header}'{analytics}/v1/top?by=provider&measure=consumers&limit=5'",
        f"curl {header}'{intelligence}/v1/recommendations?consumer_id={consumer}&limit=3'",
        f"curl {header}'{intelligence}/v1/next?provider_id={calling}&limit=3'",
    ]
