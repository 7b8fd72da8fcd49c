"""`kith receipt`: checks the receipt of an erasure."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.options import Json, PrivacyUrl
from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings

receipt_app = typer.Typer(help="Receipts of erasures.", no_args_is_help=True)
_ALGORITHM, _TYPE, _ISSUER = "ES256", "kith-receipt+jws", "kith/privacy"
_CLAIMS = ("sub", "tenant", "consumer_id", "mode", "asked", "iat", "steps")


class NotGenuine(Exception):
    """The fault of a receipt, as a sentence."""


@receipt_app.command("verify")
def verify_command(
    file: Annotated[
        Path, typer.Argument(help="The receipt, or the erasure's JSON with it; - is the standard input.")
    ],
    keys: Annotated[
        Path | None, typer.Option(help="The public keys (a JWKS) in a file, instead of asking the service.")
    ] = None,
    url: PrivacyUrl = None,
    json_line: Json = False,
) -> None:
    """Check that a receipt was signed by this installation and has not been changed since.

    Needs no API key, and with --keys no service. Exit status 1: the receipt is not genuine.
    """
    text = _read(file)
    jwks = _keys(keys, url)
    try:
        claims = verified(text, jwks)
    except NotGenuine as wrong:
        typer.echo(json.dumps({"genuine": False, "detail": str(wrong)}) if json_line else f"Not genuine: {wrong}")
        raise typer.Exit(1) from None
    if json_line:
        typer.echo(json.dumps({"genuine": True, **claims}))
        return
    typer.echo("The receipt is genuine.")
    for line in _claim_lines(claims):
        typer.echo(line)


def verified(text: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """The claims of a receipt (a compact JWS, or JSON with it as ``receipt``). Raises NotGenuine."""
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    receipt = _receipt_in(text)
    try:
        known = KeySet.import_key_set(jwks)  # type: ignore[arg-type]
    except (JoseError, ValueError, KeyError, TypeError):
        raise ConfigurationError("the public keys are not a JSON Web Key Set") from None
    try:
        found = jws.deserialize_compact(receipt, known, algorithms=[_ALGORITHM])
        claims = json.loads(found.payload)
    except (JoseError, ValueError) as error:
        raise NotGenuine(f"no public key of this installation has signed this ({type(error).__name__})") from None
    header = found.headers()
    if header.get("typ") != _TYPE or not isinstance(claims, dict) or claims.get("iss") != _ISSUER:
        raise NotGenuine("it is signed, but is no receipt of an erasure")
    if missing := [name for name in _CLAIMS if name not in claims]:
        raise NotGenuine(f"it lacks {', '.join(missing)}")
    return {**claims, "kid": header.get("kid")}


def _receipt_in(text: str) -> str:
    text = text.strip()
    if text.startswith("{"):
        try:
            text = json.loads(text)["receipt"]
        except (ValueError, KeyError):
            raise NotGenuine("the file is JSON without a receipt") from None
        if not isinstance(text, str):
            raise NotGenuine("the erasure has no receipt yet: not all of its steps are done")
    return text.strip()


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None


def _keys(file: Path | None, url: str | None) -> dict[str, Any]:
    if file is None:
        from services.cli.privacy_client import client_of

        return client_of(read_settings(), url).ask("GET", "/v1/erasures/keys")
    try:
        found: dict[str, Any] = json.loads(_read(file))
    except ValueError:
        raise ConfigurationError(f"{file} is not JSON") from None
    return found


def _claim_lines(claims: dict[str, Any]) -> list[str]:
    from datetime import UTC, datetime

    from services.cli.report_table import pairs, printable

    signed = datetime.fromtimestamp(claims["iat"], UTC).isoformat().replace("+00:00", "Z")
    rows = [
        ("Erasure", claims["sub"]),
        ("Tenant", claims["tenant"]),
        ("Consumer", claims["consumer_id"]),
        ("Mode", claims["mode"]),
        ("Asked for", claims["asked"]),
        ("Signed", signed),
        ("Steps", ", ".join(claims["steps"])),
        ("Key", claims["kid"]),
    ]
    return list(pairs([(label, printable(str(value)), label != "Steps") for label, value in rows], 80))
