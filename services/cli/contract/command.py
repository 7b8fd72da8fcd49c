"""`kith contract …`: what is published for third parties, and whether their expectations hold."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import Json
from shared.observability.terminal import printable
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.cli.contract.published import Published

contract_app = typer.Typer(
    help="Contracts for third parties: what is published, and whether what they read and send still holds.",
    no_args_is_help=True,
)
_From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="A folder that `kith contract save` has written, instead of the running services.",
        show_default=False,
    ),
]


@contract_app.command("list")
def list_command(source: _From = None, json_line: Json = False) -> None:
    """List the contracts: topics, webhooks, and the answers of the APIs."""
    names = sorted(_published(source).contracts())
    typer.echo(json.dumps(names) if json_line else "\n".join(names))


@contract_app.command("save")
def save_command(
    folder: Annotated[
        Path, typer.Argument(help="Gets asyncapi.json, and SERVICE.json with its OpenAPI document.")
    ],
) -> None:
    """Save what the running services publish, to check against it later or elsewhere."""
    from services.cli.contract.published import write_folder

    published = _published(None)
    files = write_folder(published, folder)
    typer.echo(f"{len(files)} documents of version {published.version} in {folder}.")


@contract_app.command("check")
def check_command(
    files: Annotated[list[Path], typer.Argument(help="Expectations, in TOML or JSON.")],
    source: _From = None,
    json_line: Json = False,
) -> None:
    """Check whether what a third party expects holds for this version of Kith.

    A file has `reader` (a name), `[[reads]]` with `contract` and one of `fields` (names, as in data.after.amount),
    `example` (a document: its members and their types), `schema` (a JSON Schema: also what is required or never
    null), and `[[sends]]` with `example` (an event). Exit status 1: something does not hold.
    """
    from services.cli.contract.expectations import read_expectations, verdicts

    expected = [read_expectations(file) for file in files]
    published = _published(source)
    broken = 0
    for each in expected:
        found = list(verdicts(each, published))
        broken += sum(1 for verdict in found if verdict.problems)
        if json_line:
            listed = [{"what": verdict.what, "problems": list(verdict.problems)} for verdict in found]
            typer.echo(json.dumps({"reader": each.reader, "version": published.version, "expectations": listed}))
            continue
        typer.echo(f"{printable(each.reader)}, with version {published.version}:")
        for verdict in found:
            typer.echo(f"  {'broken' if verdict.problems else 'holds '}  {printable(verdict.what)}")
            for problem in verdict.problems:
                typer.echo(f"          {printable(problem)}")
    if broken:
        raise typer.Exit(1)


def _published(source: Path | None) -> "Published":
    from services.cli.contract.published import Published, read_folder
    from services.cli.service_client import service_client
    from shared.contracts.services import CORE

    if source is not None:
        return read_folder(source)
    settings = read_settings()
    clients = {service: service_client(settings, service, "", None) for service in CORE}
    topics = clients["ingest"].ask("GET", "/asyncapi.json")
    return Published(topics, {service: client.ask("GET", "/openapi.json") for service, client in clients.items()})
