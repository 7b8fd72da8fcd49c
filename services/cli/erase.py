"""`kith erase`: erases one consumer through the privacy service, and waits for the receipt on demand."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import typer

from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.cli.privacy_client import PrivacyClient

_POLL_SECONDS = 0.5
_MEANS = {
    "delete": "the relations are taken away, as if the consumer had never been",
    "anonymise": "the relations stay, without free text, under a pseudonym",
}


def erase_command(
    consumer_id: Annotated[str, typer.Argument(help="The consumer's id.", show_default=False)],
    mode: Annotated[
        Literal["anonymise", "delete"],
        typer.Option(
            help="anonymise keeps the relations under a pseudonym, delete takes them away.", show_default=False
        ),
    ],
    reason: Annotated[
        str | None,
        typer.Option(help="Why, for the audit, as in 'request 4711': at most 200 characters, nothing personal."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose consumer, where no key says so.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all steps are done, and show the receipt.")
    ] = False,
    wait_seconds: Annotated[float, typer.Option(min=1, help="How long to wait at most.")] = 120.0,
    receipt: Annotated[
        Path | None, typer.Option(help="Wait, and write the receipt into this file.", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The privacy service. Default: KITH_HOST and KITH_PRIVACY_PORT.", show_default=False),
    ] = None,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")] = False,
) -> None:
    """Erase a consumer, for good: no replay, rebuild or restored dump brings them back.

    It needs a key with the scope admin: KITH_KEY, or that of the stack on this machine. Asking again is safe. Exit
    status 1: the erasure goes on, but was not done within the time to wait.
    """
    from services.cli.privacy_client import client_of, consumer_path

    client = client_of(read_settings(), url, tenant)
    if not yes:
        _confirm(consumer_id, mode, client.base)
    given = {"mode": mode, **({} if reason is None else {"reason": reason})}
    accepted = client.ask("DELETE", consumer_path(consumer_id, **given))
    if not (wait or receipt):
        _tell(
            json_line,
            accepted,
            f"Erasure {accepted['erasure']} is accepted. `kith erase … --wait` waits for its receipt.",
        )
        return
    state = _waited(client, accepted["erasure"], wait_seconds, quiet=json_line)
    if not state["done"]:
        missing = next(step for step in state["steps"] if not step["done"])
        text = f"Not done within {wait_seconds:g} s: {missing['name']} ({missing['means']}). The erasure goes on."
        _tell(json_line, state, text)
        raise typer.Exit(1)
    if receipt is not None:
        receipt.write_text(f"{state['receipt']}\n")
        _tell(json_line, state, f"Done. The receipt is in {receipt}; `kith receipt verify {receipt}` checks it.")
    else:
        _tell(json_line, state, f"Done. The receipt:\n{state['receipt']}")


def _confirm(consumer_id: str, mode: str, base: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("an erasure cannot be undone; say --yes where nobody can be asked")
    typer.echo(f"This erases the consumer {consumer_id} at {base}: {_MEANS[mode]}. It cannot be undone.")
    typer.confirm("Erase?", abort=True)


def _waited(client: "PrivacyClient", erasure: str, seconds: float, *, quiet: bool) -> dict[str, Any]:
    """The state of the erasure, once it is done or the time is over."""
    end, told = time.monotonic() + seconds, set[str]()
    while True:
        state = client.ask("GET", f"/v1/erasures/{quote(erasure, safe='')}")
        for step in state["steps"]:
            if step["done"] and step["name"] not in told:
                told.add(step["name"])
                if not quiet:
                    typer.echo(f"  {step['name']}: {step['means']}", err=True)
        if state["done"] or time.monotonic() >= end:
            return state
        time.sleep(_POLL_SECONDS)


def _tell(json_line: bool, state: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(state) if json_line else text)
