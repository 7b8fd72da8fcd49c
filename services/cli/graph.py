"""`kith paths`, `neighbours`, `central`, `communities`, `campaign`: through the intelligence service, which holds
the graph, and whose job finds communities."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import typer
from rich.console import Console
from rich.text import Text

from services.cli.options import PURPOSE, STRENGTH, Json, Options, taking
from services.cli.tables import Column, Row, fitted
from shared.contracts.errors import ConfigurationError
from shared.observability.terminal import printable
from shared.service.launch import read_settings

Side = Literal["consumer", "provider"]
_OF_SERVICE: Options = {
    "tenant": (
        Annotated[str | None, typer.Option(help="The tenant, if no key determines it.", show_default=False)],
        None,
    ),
    "url": (
        Annotated[
            str | None,
            typer.Option(
                "--url",
                help="The intelligence service. Default: KITH_HOST and KITH_INTELLIGENCE_PORT.",
                show_default=False,
            ),
        ],
        None,
    ),
    "as_json": (Json, False),
}
_Node = Annotated[str, typer.Argument(help="consumer:ID or provider:ID.", show_default=False)]


@taking(**STRENGTH, **PURPOSE, **_OF_SERVICE)
def paths_command(
    start: _Node,
    end: _Node,
    longest: Annotated[int, typer.Option(min=1, max=6, help="The most relationships of the path.")] = 6,
    **options: Any,
) -> None:
    """Show how two consumers or providers are connected: the path of the fewest relationships.

    Asks the intelligence service.
    """
    found = _ask("/v1/paths", {"from": start, "to": end, "longest": longest}, options)
    if _as_json(found, options):
        return
    # The relationships of a path lie between its nodes, in their order.
    strengths = ["", *(_number(edge["strength"], ".3g") for edge in found["edges"])]
    rows = [
        [node["side"], node["id"], node.get("name") or "", strength, _number(node["relationships"])]
        for node, strength in zip(found["nodes"], strengths, strict=bool(found["nodes"]))
    ]
    _show(
        found,
        rows,
        [
            Column(""),
            Column("id"),
            Column("name", rank=1),
            Column("strength", right=True),
            Column("relationships", right=True, rank=1),
        ],
    )


@taking(**STRENGTH, **PURPOSE, **_OF_SERVICE)
def neighbours_command(
    node: _Node,
    depth: Annotated[
        int, typer.Option(min=1, max=2, help="Steps from the node: 2 shows those of its neighbours, too.")
    ] = 1,
    limit: Annotated[int, typer.Option(min=1, max=50, help="Maximum number of neighbours of each node.")] = 10,
    **options: Any,
) -> None:
    """Show who is around a consumer or provider: its strongest relationships.

    Asks the intelligence service.
    """
    side, colon, id = node.partition(":")
    if side not in ("consumer", "provider") or not colon or not id:
        raise ConfigurationError("NODE is consumer:ID or provider:ID")
    path = f"/v1/neighbours/{side}/{quote(id, safe='')}"
    found = _ask(path, {"depth": depth, "limit": limit}, options)
    if _as_json(found, options):
        return
    names = {each["id"]: each.get("name") or "" for each in found["nodes"] if each["side"] == "provider"}
    rows = [
        [
            edge["consumer_id"],
            edge["provider_id"],
            names.get(edge["provider_id"], ""),
            _number(edge["strength"], ".3g"),
        ]
        for edge in found["edges"]
    ]
    _show(
        found,
        rows,
        [Column("consumer"), Column("provider"), Column("name", rank=1), Column("strength", right=True)],
    )
    if found["omitted"]:
        _say(f"{_number(found['omitted'])} more relationships are not shown.")


@taking(**PURPOSE, **_OF_SERVICE)
def central_command(
    by: Annotated[
        Literal["pagerank", "degree"],
        typer.Option(help="pagerank, of the last job; or degree, the number of relationships now."),
    ] = "pagerank",
    side: Annotated[Side, typer.Option(help="consumer or provider.")] = "provider",
    kind: Annotated[
        str | None, typer.Option(help="With degree: only relations of this kind.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Maximum number of answers.")] = 10,
    **options: Any,
) -> None:
    """Show who is central: by PageRank, or by the number of relationships.

    Asks the intelligence service.
    """
    if kind is not None and by == "pagerank":
        raise ConfigurationError("--kind needs --by degree: PageRank is of all relationships")
    found = _ask("/v1/central", {"by": by, "side": side, "kind": kind, "limit": limit}, options)
    if not _as_json(found, options):
        _show(found, [_central(each) for each in found["items"]], [Column(side), *_CENTRAL])


@taking(**_OF_SERVICE)
def communities_command(
    community: Annotated[str | None, typer.Argument(help="Show its members.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Maximum number of answers.")] = 20,
    **options: Any,
) -> None:
    """Show communities: who has more to do with each other than with the rest; or the members of one.

    Asks the intelligence service, whose job finds them every few minutes.
    """
    if community is not None:
        found = _ask(f"/v1/communities/{quote(community, safe='')}", {"limit": limit}, options)
        if not _as_json(found, options):
            rows = [[each["side"], *_central(each)] for each in found["members"]]
            _show(found, rows, [Column(""), Column("id"), *_CENTRAL])
        return
    found = _ask("/v1/communities", {"limit": limit}, options)
    if _as_json(found, options):
        return
    rows = [
        [
            each["id"],
            _number(each["consumers"]),
            _number(each["providers"]),
            _listed(each["strongest"], lambda one: one.get("name") or one["id"]),
            _listed(each["categories"], lambda one: f"{one['name']} ({_number(one['providers'])})"),
            _listed(each["places"], lambda one: f"{one['name']} ({_number(one['providers'])})"),
        ]
        for each in found["items"]
    ]
    _show(
        found,
        rows,
        [
            Column("community"),
            Column("consumers", right=True),
            Column("providers", right=True),
            Column("strongest", wrap=True),
            Column("sells", wrap=True, rank=1),
            Column("where", wrap=True, rank=1),
        ],
    )


@taking(**PURPOSE, **_OF_SERVICE)
def campaign_command(
    consumers: Annotated[
        Path, typer.Argument(help="A file with the id of a consumer in each line; - is stdin.", show_default=False)
    ],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Length of each list.")] = 10,
    share: Annotated[
        float,
        typer.Option(min=0, max=1, help="What each provider is guaranteed, as a part of an equal share of all."),
    ] = 0.5,
    category: Annotated[
        str | None, typer.Option(help="Only providers of this category.", show_default=False)
    ] = None,
    beta: Annotated[float | None, typer.Option(min=0, max=1, help="How far popularity is taken out.")] = None,
    **options: Any,
) -> None:
    """Make lists of providers for many consumers at once, so that every provider is shown.

    Asks the intelligence service. Nothing is stored.
    """
    ids = [id for line in _lines(consumers) if (id := line.strip())]
    given = {"limit": limit, "share": share, "category": category, "beta": beta, "purpose": options["purpose"]}
    body = {"consumer_ids": ids, **{name: value for name, value in given.items() if value is not None}}
    found = _client(options).ask("POST", "/v1/campaigns", body)
    if _as_json(found, options):
        return
    rows = [
        [each["consumer_id"], ", ".join(one["provider_id"] for one in each["providers"])]
        for each in found["items"]
    ]
    _show(found, rows, [Column("consumer"), Column("providers", wrap=True)])
    report = found["report"]
    _say(
        f"{_number(report['shown'])} of {_number(report['providers'])} providers are in a list; without the "
        f"guarantee {_number(report['shown_before'])}. The lists keep {_number(report['kept_mean'], '.1%')} of "
        "the best ones' score."
    )


_CENTRAL = [Column("name", rank=1), Column("relationships", right=True), Column("PageRank", right=True, rank=1)]


def _central(each: dict[str, Any]) -> list[str]:
    rank = _number(each.get("pagerank"), ".4g")
    return [each["id"], each.get("name") or "", _number(each["relationships"]), rank]


def _number(value: Any, form: str = ",") -> str:
    """A number in a form. One that the credential may not see (•••), and ``few``, are shown as they come."""
    if value is None:
        return ""
    return format(value, form) if isinstance(value, int | float) else str(value)


def _listed(each: Any, shown: Callable[[Any], str]) -> str:
    """The first three of a list, which may be masked."""
    return ", ".join(map(shown, each[:3])) if isinstance(each, list) else str(each)


def _lines(file: Path) -> list[str]:
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")).splitlines()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not text in UTF-8") from None


def _client(options: dict[str, Any]) -> Any:
    from services.cli.service_client import service_client

    return service_client(read_settings(), "intelligence", "intelligence:read", options["url"], options["tenant"])


def _ask(path: str, given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    asked = given | {name: options[name] for name in (*STRENGTH, *PURPOSE) if name in options}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found: dict[str, Any] = _client(options).ask("GET", f"{path}?{query}")
    return found


def _as_json(found: dict[str, Any], options: dict[str, Any]) -> bool:
    if options["as_json"]:
        typer.echo(json.dumps(found))
    return bool(options["as_json"])


def _show(found: dict[str, Any], rows: list[list[str]], columns: list[Column]) -> None:
    if "reason" in found:
        _say(f"No answer: {found['reason']}.")
    if rows:
        console = Console()
        console.print(fitted("", columns, (Row(cells) for cells in rows), console))
    if at := (found.get("as_of") or {}).get("at"):
        _say(f"As of {at[:16].replace('T', ' ')} UTC: they are found every few minutes.")
    if found.get("left_out"):
        _say("Consumers who have not granted the purpose are left out.")


def _say(sentence: str) -> None:
    Console().print(Text(printable(sentence)))
