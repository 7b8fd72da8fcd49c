"""A group of commands that are imported when one is called, and not before."""

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, Literal, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

MARKUP: Literal["markdown"] = "markdown"


class Place(NamedTuple):
    """The place of a command, and its line in the list of all commands. ``attribute`` of ``module`` is a function
    or a Typer application. ``help`` repeats the first paragraph of the command's own help. ``wrap`` decorates each
    function."""

    module: str
    attribute: str
    panel: str
    help: str
    wrap: Callable[[Callable[..., None]], Callable[..., None]] | None = None


class Commands(MutableMapping[str, Any]):
    """The commands by name. A command is imported when it is looked up."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._places[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._loaded]))

    def __len__(self) -> int:
        return len({*self._places, *self._loaded})


class LazyGroup(TyperGroup):
    """Lists its commands without importing any, and imports the one that is called.

    ``places`` is set by a subclass. Completion and suggestions for a mistyped name need the names only.
    """

    places: ClassVar[Mapping[str, Place]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands(self.places)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """A command without its options, for the list. ``resolve_command`` returns the one to run."""
        place = self.places.get(cmd_name)
        if place is None:
            return None
        return TyperCommand(cmd_name, help=place.help, rich_help_panel=place.panel, rich_markup_mode=MARKUP)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        # Without rich, which takes longer to import than everything else here together.
        super(TyperGroup, self).format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, place in self.places.items():
            panels.setdefault(place.panel, []).append((name, place.help))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else self.commands[name], rest


def _load(name: str, place: Place) -> Any:
    found = getattr(importlib.import_module(place.module), place.attribute)
    # Typer makes a group only from two commands.
    above = typer.Typer(rich_markup_mode=MARKUP, add_completion=False)
    above.callback()(lambda: None)
    if place.wrap is not None:
        found = _wrapped(found, place.wrap)
    if isinstance(found, typer.Typer):
        above.add_typer(found, name=name)
    else:
        above.command(name)(found)
    group = typer.main.get_command(above)
    return getattr(group, "commands")[name]  # noqa: B009 (what a group is depends on Typer's version)


def _wrapped(found: Any, wrap: Callable[[Callable[..., None]], Callable[..., None]]) -> Any:
    """The function, or the application with every function in it, wrapped. Nothing that was imported changes."""
    if not isinstance(found, typer.Typer):
        return wrap(found)
    app = copy.copy(found)
    app.registered_commands = [copy.copy(command) for command in found.registered_commands]
    for command in app.registered_commands:
        if command.callback is not None:
            # Typer names a command without a name after its function.
            command.callback = wrap(command.callback)
    app.registered_groups = [copy.copy(group) for group in found.registered_groups]
    for group in app.registered_groups:
        group.typer_instance = _wrapped(group.typer_instance, wrap)
    return app
