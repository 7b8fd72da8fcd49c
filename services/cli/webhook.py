"""`kith webhook …`: endpoints of the webhooks service, and what became of their deliveries."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlencode

import typer

from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.cli.service_client import ServiceClient

webhook_app = typer.Typer(help="Webhooks: endpoints that get changes over HTTP, signed.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(help="The endpoint's id, as in ep_….", show_default=False)]
_Tenant = Annotated[str | None, typer.Option(help="The tenant, if no key determines it.", show_default=False)]
_Url = Annotated[
    str | None,
    typer.Option("--service", help="The webhooks service. Default: KITH_HOST and KITH_WEBHOOKS_PORT."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the answer as one line of JSON.")]
_PATH = "/v1/webhooks/endpoints"


def _client(service: str | None, tenant: str | None) -> "ServiceClient":
    from services.cli.service_client import service_client

    return service_client(read_settings(), "webhooks", "webhooks:manage", service, tenant)


def _of(endpoint: str) -> str:
    return f"{_PATH}/{quote(endpoint, safe='')}"


@webhook_app.command("create")
def create_command(
    url: Annotated[str, typer.Argument(help="Where deliveries are sent: https, a public address.")],
    type: Annotated[
        list[str] | None,
        typer.Option(help="relation.changed, consumer.changed, provider.changed or webhook.disabled; repeatable."),
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only relations of this kind; repeatable.")] = None,
    provider: Annotated[list[str] | None, typer.Option(help="Only this provider; repeatable.")] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Only providers of this category; repeatable.")
    ] = None,
    filter: Annotated[str | None, typer.Option(help="JMESPath over the body.", show_default=False)] = None,
    template: Annotated[str | None, typer.Option(help="JMESPath that makes the body.", show_default=False)] = None,
    purpose: Annotated[
        str | None, typer.Option(help="Only consumers who have granted it.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Also changes since this time, or `beginning`.", show_default=False)
    ] = None,
    algorithm: Annotated[Literal["hmac", "ed25519"], typer.Option(help="How deliveries are signed.")] = "hmac",
    description: Annotated[str | None, typer.Option(show_default=False, help="For people.")] = None,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """Create an endpoint and print its secret, which is not shown again."""
    stated: dict[str, Any] = {
        "url": url,
        "types": type or ["relation.changed"],
        "kinds": kind,
        "providers": provider,
        "categories": category,
        "filter": filter,
        "template": template,
        "purpose": purpose,
        "since": since,
        "algorithm": algorithm,
        "description": description,
    }
    given = {name: value for name, value in stated.items() if value}
    answer = _client(service, tenant).ask("POST", _PATH, given)
    if json_line:
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"Endpoint {answer['endpoint']} gets {', '.join(answer['types'])}.")
    typer.echo(f"Secret (not shown again): {answer['secret']}")
    if "public_key" in answer:
        typer.echo(f"Receivers verify with:    {answer['public_key']}")
    typer.echo(f"Try it: kith webhook test {answer['endpoint']}")


@webhook_app.command("list")
def list_command(tenant: _Tenant = None, service: _Url = None, json_line: _Json = False) -> None:
    """List the endpoints, with what waits for each."""
    answer = _client(service, tenant).ask("GET", _PATH)
    if json_line:
        typer.echo(json.dumps(answer))
        return
    if not answer["items"]:
        typer.echo("There are no endpoints. `kith webhook create URL` makes one.")
        return
    _show(answer["items"])


def _show(endpoints: list[dict[str, Any]]) -> None:
    from rich.console import Console

    from services.cli.tables import Column, Row, fitted

    columns = [
        Column("Endpoint"),
        Column("State", wrap=True),
        Column("Queued", right=True),
        Column("Behind", right=True, rank=2),
        Column("Given up", right=True, rank=3),
        Column("URL", rank=1),
    ]
    rows = [
        Row(
            [
                each["endpoint"],
                _state(each),
                # A key that is bound to a purpose is not told how much is behind.
                *(f"{each[name]:,}" if name in each else "" for name in ("queued", "behind", "failed")),
                each["url"],
            ]
        )
        for each in endpoints
    ]
    console = Console()
    console.print(fitted("", columns, rows, console))


def _state(endpoint: dict[str, Any]) -> str:
    if endpoint["state"] == "disabled":
        return f"disabled: {endpoint['reason']}"
    return "failing" if endpoint.get("failing_since") else "enabled"


@webhook_app.command("show")
def show_command(endpoint: _Id, tenant: _Tenant = None, service: _Url = None) -> None:
    """Show one endpoint as JSON."""
    typer.echo(json.dumps(_client(service, tenant).ask("GET", _of(endpoint)), indent=2))


@webhook_app.command("deliveries")
def deliveries_command(
    endpoint: _Id,
    outcome: Annotated[
        Literal["delivered", "failed", "given_up", "dropped"] | None,
        typer.Option(help="Only attempts with this outcome.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Maximum number of attempts.")] = 20,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """List the latest attempts, with the receiver's answers."""
    query = urlencode({"limit": limit, **({"outcome": outcome} if outcome else {})})
    answer = _client(service, tenant).ask("GET", f"{_of(endpoint)}/deliveries?{query}")
    from shared.observability.terminal import printable

    for each in answer["items"]:
        if json_line:
            typer.echo(json.dumps(each))
            continue
        result = printable(str(each.get("status") or each.get("error", "")))
        typer.echo(
            f"{each['at'][:19]}Z  {each['outcome']:<9}  {each['type']}  {printable(each['subject'])}  "
            f"attempt {each['attempt']}, {each['milliseconds']} ms: {result}"
        )
    if not answer["items"] and not json_line:
        typer.echo("There are no attempts.")


@webhook_app.command("test")
def send_test_command(endpoint: _Id, tenant: _Tenant = None, service: _Url = None) -> None:
    """Send a delivery of the type webhook.test."""
    _client(service, tenant).ask("POST", f"{_of(endpoint)}/test", {})
    typer.echo(f"A test is on its way. `kith webhook deliveries {endpoint}` shows the answer.")


@webhook_app.command("replay")
def replay_command(
    endpoint: _Id,
    since: Annotated[
        str | None, typer.Option(help="A time in RFC 3339, or `beginning`.", show_default=False)
    ] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN=NUMBER",
            help="Only what follows this kith-origin and kith-number; repeatable, for each origin.",
            show_default=False,
        ),
    ] = None,
    tenant: _Tenant = None,
    service: _Url = None,
) -> None:
    """Send the changes since a time, or after a place, again, in order; those from now on follow."""
    if since is None and not after:
        raise typer.BadParameter("state --since, --after or both", param_hint="--since")
    body = {"since": since, "after": [_place(text) for text in after] if after else None}
    given = {name: value for name, value in body.items() if value is not None}
    answer = _client(service, tenant).ask("POST", f"{_of(endpoint)}/replay", given)
    many = answer.get("changes", "The")
    typer.echo(f"{many} changes are read again; their deliveries bear kith-replay: {answer['replay']}.")


def _place(text: str) -> dict[str, str | int]:
    origin, equals, number = text.rpartition("=")
    if not equals or not number.isdecimal():
        raise typer.BadParameter(
            f"{text} is not ORIGIN=NUMBER, as the headers of a delivery state", param_hint="--after"
        )
    return {"origin": origin, "number": int(number)}


@webhook_app.command("retry")
def retry_command(
    endpoint: _Id,
    delivery: Annotated[str | None, typer.Option(help="Only this delivery.", show_default=False)] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Also what waits for its next attempt.")] = False,
    tenant: _Tenant = None,
    service: _Url = None,
) -> None:
    """Send again, once, what was given up after ten attempts."""
    body: dict[str, str | bool] = {} if delivery is None else {"delivery": delivery}
    if waiting:
        body["waiting"] = True
    answer = _client(service, tenant).ask("POST", f"{_of(endpoint)}/retry", body)
    typer.echo(f"{answer['deliveries']} deliveries are sent again.")


@webhook_app.command("rotate")
def rotate_command(
    endpoint: _Id,
    overlap_hours: Annotated[int, typer.Option(min=0, max=168, help="How long the former secret is valid.")] = 24,
    tenant: _Tenant = None,
    service: _Url = None,
) -> None:
    """Make a new secret and print it. Deliveries are signed with the former one, too, until the overlap ends."""
    body = {"overlap_hours": overlap_hours}
    answer = _client(service, tenant).ask("POST", f"{_of(endpoint)}/secret", body)
    typer.echo(f"Secret (not shown again): {answer['secret']}")
    typer.echo(f"The former one is valid for {overlap_hours} hours more.")


@webhook_app.command("enable")
def enable_command(endpoint: _Id, tenant: _Tenant = None, service: _Url = None) -> None:
    """Enable an endpoint. It gets everything that has changed meanwhile."""
    answer = _client(service, tenant).ask("POST", f"{_of(endpoint)}/enable", {})
    behind = f", {answer['behind']} changes are to be read" if "behind" in answer else ""
    typer.echo(f"Enabled. {answer['queued']} deliveries wait{behind}.")


@webhook_app.command("disable")
def disable_command(endpoint: _Id, tenant: _Tenant = None, service: _Url = None) -> None:
    """Disable an endpoint. Kith remembers from where to go on."""
    _client(service, tenant).ask("POST", f"{_of(endpoint)}/disable", {})
    typer.echo("Disabled.")


@webhook_app.command("delete")
def delete_command(endpoint: _Id, tenant: _Tenant = None, service: _Url = None) -> None:
    """Delete an endpoint. What waits for it is not sent."""
    _client(service, tenant).ask("DELETE", _of(endpoint))
    typer.echo("Deleted.")
