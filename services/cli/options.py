"""Options that several commands have."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")]
PrivacyUrl = Annotated[
    str | None,
    typer.Option(
        "--url", help="The privacy service. Default: KITH_HOST and KITH_PRIVACY_PORT.", show_default=False
    ),
]
