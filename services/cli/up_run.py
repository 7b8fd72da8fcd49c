"""``kith up``: a stack in this process until Ctrl-C, and its announcement."""

import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from services.cli.session import Options, stack_session
from services.cli.signals import signals_interrupt
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.local.contexts import path_of, without_password
from shared.local.invocation import path_hint

STARTING = "Starting … (the first time on a machine, Kafka is downloaded: 45 MB)"


def up(options: Options, json_line: bool) -> int:
    """Run everything until Ctrl-C or SIGTERM (status 0), or until a process fails (status 1)."""
    say = _silent if json_line else to_stderr
    with signals_interrupt():
        try:
            say(STARTING)
            with stack_session("up", options, to_stderr, say) as (stack, context):
                key = {"master_key_file": stack.settings.master_key_file}
                shown = {**stack.addresses, **{what: path for what, path in key.items() if path}}
                if json_line:
                    line = {**shown, "api_key": stack.api_key, "context": context.name, "pid": context.pid}
                    print(json.dumps(line), flush=True)
                else:
                    announce(shown, stack.api_key, context.name, "Ctrl-C stops it.")
                stack.wait()
        except KeyboardInterrupt:
            return 0
        except (ConfigurationError, Unavailable) as error:
            complain(str(error))
            return 1


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    pass


def complain(text: str) -> None:
    errors = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    errors.print(f"kith: {text}", style="red")


def announce(addresses: Mapping[str, str], api_key: str | None, name: str, how_to_stop: str) -> None:
    """Print the addresses, and the next steps."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold green]Kith is up.[/] {escape(how_to_stop)}")
    width = max(map(len, addresses))
    for what, address in addresses.items():
        console.print(f"  [bold]{what:<{width}}[/]", escape(without_password(address)))
    page = f"{addresses['analytics']}/dashboard/" + ("" if api_key is None else f"#key={api_key}")
    console.print(f"  [bold]{'dashboard':<{width}}[/]", page)
    console.print(f"In other terminals every kith command finds this stack, {escape(name)}.")
    if hint := path_hint():
        console.print(escape(hint))
    if without_password(addresses.get("mongo", "")) != addresses.get("mongo", ""):
        console.print(f"Other clients find the passwords of its servers in {escape(str(path_of(name)))}.")
    if api_key is None:
        console.print("[bold red]KITH_ACCESS is open:[/] anyone who reaches these addresses may read and write.")
    else:
        console.print("Each request needs a key; this one has every scope for the tenant default:")
        console.print(f"  export KITH_KEY={api_key}", markup=False)
        console.print(f'  curl -H "Authorization: Bearer $KITH_KEY" {addresses["analytics"]}/v1/top', markup=False)
