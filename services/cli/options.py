"""Options that several commands have."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")]
PrivacyUrl = Annotated[
    str | None,
    typer.Option(
        "--url", help="The privacy service. Default: KITH_HOST and KITH_PRIVACY_PORT.", show_default=False
    ),
]

#: Options by name, with their defaults, for ``taking``.
Options = dict[str, tuple[Any, Any]]
#: Which relationships count in a question to the graph, and how much.
STRENGTH: Options = {
    "kind": (Annotated[str | None, typer.Option(help="Only relations of this kind.", show_default=False)], None),
    "weights": (
        Annotated[
            str | None, typer.Option(help="Weights of kinds, as in purchase:2,view:0.1.", show_default=False)
        ],
        None,
    ),
    "half_life_months": (
        Annotated[
            float | None, typer.Option(help="Half-life in place of the configured one.", show_default=False)
        ],
        None,
    ),
}
PURPOSE: Options = {
    "purpose": (
        Annotated[
            str | None, typer.Option(help="Only consumers who have granted this purpose.", show_default=False)
        ],
        None,
    ),
}


def taking(**shared: tuple[Any, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Options that several commands have, as (annotation, default) by name, for a function that takes them as
    ``**options``. They come before its own."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        parameters = [
            *(_option(name, *given) for name, given in shared.items()),
            *(_option(each.name, each.annotation, each.default) for each in own),
        ]
        function.__annotations__ = {**{each.name: each.annotation for each in parameters}, "return": None}
        setattr(function, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
        return function

    return decorate


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
