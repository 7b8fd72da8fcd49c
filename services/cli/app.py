"""`kith app …`: applications of third parties, through the apps service."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlencode

import typer

from services.cli.completion import among, scopes
from shared.access.apps.compliance import State
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.cli.service_client import ServiceClient

app_app = typer.Typer(
    help="Applications of third parties: register, approve, suspend, and their secrets.", no_args_is_help=True
)
secret_app = typer.Typer(help="The secrets of an application: two are valid at once.", no_args_is_help=True)
app_app.add_typer(secret_app, name="secret")

_Id = Annotated[str, typer.Argument(help="The application's id, as in app_….", show_default=False)]
_Tenant = Annotated[str | None, typer.Option(help="The tenant, if no key determines it.", show_default=False)]
_Url = Annotated[
    str | None, typer.Option("--service", help="The apps service. Default: KITH_HOST and KITH_APPS_PORT.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the answer as one line of JSON.")]


def _client(service: str | None, tenant: str | None, scope: str = "apps:manage") -> "ServiceClient":
    from services.cli.service_client import service_client

    return service_client(read_settings(), "apps", scope, service, tenant)


def _of(app: str) -> str:
    return f"/v1/apps/{quote(app, safe='')}"


def _print(answer: dict[str, Any], json_line: bool) -> None:
    typer.echo(json.dumps(answer, indent=None if json_line else 2))


@app_app.command("register")
def register_command(
    name: Annotated[str, typer.Argument(help="The name that consumers and the tenant read.")],
    scope: Annotated[
        list[str],
        typer.Option(help="A scope that it wants; repeatable.", show_default=False, autocompletion=among(scopes)),
    ],
    uri: Annotated[str | None, typer.Option(help="Its page on the web.", show_default=False)] = None,
    contact: Annotated[list[str] | None, typer.Option(help="Who is responsible; repeatable.")] = None,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """Register an application and print its secret and registration token, which are not shown again."""
    stated = {"client_name": name, "scope": " ".join(scope), "client_uri": uri, "contacts": contact}
    given = {name: value for name, value in stated.items() if value}
    answer = _client(service, tenant, "apps:register").ask("POST", "/register", given)
    if json_line:
        _print(answer, json_line)
        return
    typer.echo(f"Application {answer['client_id']} waits for approval: kith app approve {answer['client_id']}")
    typer.echo(f"Secret (not shown again):             {answer['client_secret']}")
    typer.echo(f"Registration token (not shown again): {answer['registration_access_token']}")


@app_app.command("list")
def list_command(
    state: Annotated[
        Literal["pending", "approved", "suspended"] | None,
        typer.Option(help="Only those in this state.", show_default=False),
    ] = None,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """List the applications, with what each may do."""
    answer = _client(service, tenant).ask("GET", "/v1/apps" + (f"?state={state}" if state else ""))
    if json_line:
        _print(answer, json_line)
        return
    if not answer["items"]:
        typer.echo("There are no applications. `kith app register NAME --scope SCOPE` makes one.")
        return
    from rich.console import Console

    from services.cli.tables import Column, Row, fitted

    columns = [Column("Application"), Column("Name"), Column("State"), Column("Scopes", rank=1, wrap=True)]
    rows = [
        Row([each["client_id"], each["client_name"], each["state"], _scopes(each)]) for each in answer["items"]
    ]
    console = Console()
    console.print(fitted("Applications", columns, rows, console))


def _scopes(app: dict[str, Any]) -> str:
    """The granted scopes, and in brackets those that are only requested."""
    waiting = [scope for scope in app["scope"].split() if scope not in app["granted"]]
    return " ".join([*app["granted"], *(f"({scope})" for scope in waiting)])


@app_app.command("show")
def show_command(app: _Id, tenant: _Tenant = None, service: _Url = None, json_line: _Json = False) -> None:
    """Show one application as JSON, with the number of consumers who have agreed to it."""
    client = _client(service, tenant)
    _print({**client.ask("GET", _of(app)), **client.ask("GET", f"{_of(app)}/figures")}, json_line)


@app_app.command("receipts")
def receipts_command(
    app: _Id,
    state: Annotated[
        State | None,
        typer.Option(help="Only receipts in this state.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Maximum number of receipts.")] = 20,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """List what an application was told of erasures, exports and its own deletion, latest first.

    An application that was deleted has its receipts for three years, too.
    """
    query = urlencode({"limit": limit, **({"state": state} if state else {})})
    answer = _client(service, tenant).ask("GET", f"{_of(app)}/receipts?{query}")
    if json_line:
        _print(answer, json_line)
        return
    from shared.observability.terminal import printable

    for each in answer["items"]:
        when = f" {each['settled'][:19]}Z" if "settled" in each else ""
        reason = f": {printable(each['reason'])}" if "reason" in each else ""
        about = printable(each.get("consumer_id", "–"))
        typer.echo(f"{each['at'][:19]}Z  {each['topic']}  {about}  {each['state']}{when}{reason}")
    if not answer["items"]:
        typer.echo("It was told of nothing.")


@app_app.command("approve")
def approve_command(
    app: _Id,
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this scope; repeatable. At first, default: all requested.")
    ] = None,
    mask: Annotated[list[str] | None, typer.Option(help="A field to hide from it; repeatable.")] = None,
    requests: Annotated[str | None, typer.Option(help="Requests, as in 10/second.", show_default=False)] = None,
    events_a_day: Annotated[int | None, typer.Option(min=0, help="Events in a day.", show_default=False)] = None,
    endpoints: Annotated[int | None, typer.Option(min=0, help="Webhook endpoints.", show_default=False)] = None,
    webhooks: Annotated[
        str | None, typer.Option(help="Deliveries to its endpoints, as in 50/second.", show_default=False)
    ] = None,
    revision: Annotated[
        int | None, typer.Option(min=1, help="The revision that `kith app show` has shown.", show_default=False)
    ] = None,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """Let an application work, or change what it is granted. It takes effect within five seconds.

    The first time, without --scope and --revision, it shows what is requested and asks whether to grant it.
    """
    client = _client(service, tenant)
    if revision is None and not scope:
        revision = _agreed(client.ask("GET", _of(app)))
    stated = {
        "scopes": scope,
        "masks": mask,
        "requests": requests,
        "events_a_day": events_a_day,
        "endpoints": endpoints,
        "webhooks": webhooks,
        "revision": revision,
    }
    given = {name: value for name, value in stated.items() if value is not None and value != []}
    answer = client.ask("POST", f"{_of(app)}/approve", given)
    if json_line:
        _print(answer, json_line)
        return
    from shared.observability.terminal import printable

    typer.echo(f"{printable(answer['client_name'])} may: {', '.join(answer['granted'])}")
    typer.echo(f"It sees consumers who have granted the purpose {answer['purpose']}.")


def _agreed(app: dict[str, Any]) -> int | None:
    """The revision whose requested scopes a person agrees to; None where some were granted before, which stay."""
    from shared.observability.terminal import printable

    if app["granted"]:
        return None
    typer.echo(f"{printable(app['client_name'])} requests: {app['scope']}", err=True)
    typer.confirm("Grant this?", abort=True, err=True)
    return int(app["revision"])


@app_app.command("suspend")
def suspend_command(
    app: _Id,
    reason: Annotated[str | None, typer.Option(help="For its developer.", show_default=False)] = None,
    tenant: _Tenant = None,
    service: _Url = None,
) -> None:
    """Stop an application: its tokens are refused within five seconds."""
    _client(service, tenant).ask("POST", f"{_of(app)}/suspend", {} if reason is None else {"reason": reason})
    typer.echo("Suspended.")


@app_app.command("delete")
def delete_command(app: _Id, tenant: _Tenant = None, service: _Url = None) -> None:
    """Delete an application: its tokens are refused within five seconds."""
    _client(service, tenant).ask("DELETE", _of(app))
    typer.echo("Deleted.")


@secret_app.command("add")
def add_secret_command(
    app: _Id,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it is valid.")] = 365,
    overlap_hours: Annotated[
        int | None, typer.Option(min=0, help="How long the former secret is valid, at most.", show_default=False)
    ] = None,
    tenant: _Tenant = None,
    service: _Url = None,
    json_line: _Json = False,
) -> None:
    """Add a secret and print it."""
    body = {"days": days, **({} if overlap_hours is None else {"others_end_in_hours": overlap_hours})}
    answer = _client(service, tenant).ask("POST", f"{_of(app)}/secrets", body)
    if json_line:
        _print(answer, json_line)
        return
    typer.echo(f"Secret {answer['secret']} (not shown again): {answer['client_secret']}")
    typer.echo(f"It is valid until {answer['ends'][:10]}.")


@secret_app.command("remove")
def remove_secret_command(
    app: _Id,
    secret: Annotated[str, typer.Argument(help="The part of the secret that `kith app show` shows.")],
    tenant: _Tenant = None,
    service: _Url = None,
) -> None:
    """End a secret now, and the tokens that were issued for it."""
    _client(service, tenant).ask("DELETE", f"{_of(app)}/secrets/{quote(secret, safe='')}")
    typer.echo("Removed.")


@app_app.command("renew-token")
def renew_token_command(app: _Id, tenant: _Tenant = None, service: _Url = None, json_line: _Json = False) -> None:
    """Make a new registration token and print it; the former one is not valid any more.

    For a developer who has lost theirs, or whose token is known to others.
    """
    answer = _client(service, tenant).ask("POST", f"{_of(app)}/registration-token", {})
    if json_line:
        _print(answer, json_line)
        return
    typer.echo(f"Registration token (not shown again): {answer['registration_access_token']}")


@app_app.command("rotate-key")
def rotate_key_command(
    now: Annotated[
        bool, typer.Option("--now", help="The old key is void at once, with every token that it has signed.")
    ] = False,
) -> None:
    """Replace the key that signs access tokens. It is replaced every 30 days anyway.

    The old one is valid until its last token has ended, unless it is known to others.
    """
    from services.apps.key_pairs import MongoKeyPairs
    from services.apps.signing import VERIFIES_FOR
    from shared.access.acts import INSTALLATION, recorder
    from shared.mongo.store import connect
    from shared.settings import mongo_of

    settings = read_settings()
    with connect(mongo_of(settings)) as client:
        database = client[settings.database]
        pairs = MongoKeyPairs(database)
        current = [key.kid for key in pairs.public()]
        with recorder(settings, database) as acts:
            acts.record(INSTALLATION, "app.key.rotate", {"keys": " ".join(current)}, {"now": int(now)})
        until = datetime.now(UTC) + (timedelta(0) if now else VERIFIES_FOR)
        for kid in current:
            pairs.end(kid, until)
    typer.echo(
        f"{len(current)} keys end {'now' if now else 'when their last token has'}; the next token has a new one."
    )
