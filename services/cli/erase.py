"""`kith erase`: erases one consumer through the privacy service, and waits for the receipt if requested."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import typer

from services.cli.options import Json, PrivacyUrl
from shared.contracts.errors import ConfigurationError
from shared.local.private import write_into
from shared.observability.terminal import printable, printable_lines
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.cli.privacy_client import PrivacyClient

_POLL_SECONDS = 0.5
_MEANS = {
    "delete": "the relations are deleted, as if the consumer had never existed",
    "anonymise": "the relations stay, without free text, under a pseudonym",
}


def erase_command(
    consumer_id: Annotated[str, typer.Argument(help="The consumer's id.", show_default=False)],
    mode: Annotated[
        Literal["anonymise", "delete"],
        typer.Option(
            help="anonymise keeps the relations under a pseudonym; delete removes them.", show_default=False
        ),
    ],
    reason: Annotated[
        str | None,
        typer.Option(help="Reason for the audit, as in 'request 4711': at most 200 characters, nothing personal."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="The tenant, if no key determines it.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all steps are done, and show the receipt.")
    ] = False,
    wait_seconds: Annotated[float, typer.Option(min=1, help="Maximum time to wait, in seconds.")] = 120.0,
    receipt: Annotated[
        Path | None, typer.Option(help="Wait, and write the receipt to this file.", show_default=False)
    ] = None,
    url: PrivacyUrl = None,
    json_line: Json = False,
) -> None:
    """Erase a consumer, for good: no replay, rebuild or restored dump brings them back.

    Needs a key with the scope admin: KITH_KEY, or that of the stack on this machine. Repeating the command is
    safe. Exit status 1: the erasure is still in progress after --wait-seconds.
    """
    from services.cli.privacy_client import client_of, consumer_path

    client = client_of(read_settings(), url, tenant)
    if not yes:
        _confirm(consumer_id, mode, client.base)
    given = {"mode": mode, **({} if reason is None else {"reason": reason})}
    accepted = client.ask("DELETE", consumer_path(consumer_id, **given))
    if not (wait or receipt):
        _report(
            json_line,
            accepted,
            f"Erasure {accepted['erasure']} is accepted. `kith erase … --wait` waits for its receipt.",
        )
        return
    state = _waited(client, accepted["erasure"], wait_seconds, quiet=json_line)
    if not state["done"]:
        missing = next(step for step in state["steps"] if not step["done"])
        # A version before this one names none.
        waited = f", waiting for {', '.join(names)}" if (names := state.get("sinks")) else ""
        text = (
            f"Not done within {wait_seconds:g} s: {missing['name']} ({missing['means']}){waited}. The erasure "
            "continues; run the command again to wait for it."
        )
        _report(json_line, state, text)
        raise typer.Exit(1)
    if receipt is not None:
        try:
            write_into(receipt, f"{state['receipt']}\n")
        except OSError as error:
            # The erasure is done, and its receipt can be had again.
            raise ConfigurationError(
                f"{receipt} cannot be written: {error.strerror}. The erasure is done; run the command again with "
                "another file for the receipt"
            ) from None
        _report(json_line, state, f"Done. The receipt is in {receipt}; `kith receipt verify {receipt}` checks it.")
    else:
        _report(json_line, state, f"Done. The receipt:\n{state['receipt']}")


def _confirm(consumer_id: str, mode: str, base: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "an erasure cannot be undone; confirm it with --yes, as there is no terminal to ask"
        )
    typer.echo(
        f"This erases the consumer {printable(consumer_id)} at {base}: {_MEANS[mode]}. It cannot be undone."
    )
    typer.confirm("Erase?", abort=True)


def _waited(client: "PrivacyClient", erasure: str, seconds: float, *, quiet: bool) -> dict[str, Any]:
    """The state of the erasure when it is done or the time is up."""
    end, told = time.monotonic() + seconds, set[str]()
    while True:
        state = client.ask("GET", f"/v1/erasures/{quote(erasure, safe='')}")
        for step in state["steps"]:
            if step["done"] and step["name"] not in told:
                told.add(step["name"])
                if not quiet:
                    typer.echo(printable(f"  {step['name']}: {step['means']}"), err=True)
        if state["done"] or time.monotonic() >= end:
            return state
        time.sleep(_POLL_SECONDS)


def _report(json_line: bool, state: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(state) if json_line else printable_lines(text))
