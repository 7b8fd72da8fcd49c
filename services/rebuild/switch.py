"""`kith rebuild switch` and `kith rebuild rollback`."""

import time

from services.rebuild.build import Superseded
from services.rebuild.console import Interrupted, catch_up, ending, report, stopping
from services.rebuild.context import opened
from services.rebuild.corrections import CorrectionPublisher, count_differing
from services.rebuild.handover import PATIENCE_SECONDS, Failed, hand_over
from services.rebuild.names import Name
from services.rebuild.view import duration
from shared.access.acts import record_act
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import Topics
from shared.service.launch import read_settings
from shared.versions.generations import Generations, settled


def switch(name: Name, rate: float, differences: str, as_json: bool, *, back: bool) -> int:
    """Make the other version live. Returns the exit status."""
    settings = read_settings()
    with opened(settings, name) as (context, database), stopping() as stop:
        found = settled(context.registry)
        target = found.previous if back else found.building
        if target is None:
            raise ConfigurationError(_no_target(name, found))
        act = "rebuild.rollback" if back else "rebuild.switch"
        try:
            catch_up(context, target, rate, stop, as_json)
            differing, seconds = 0, 0.0
            if name == "relations" and differences != "ignore":
                started = time.monotonic()
                differing = count_differing(context, database, target, ending(stop))
                seconds = time.monotonic() - started
                catch_up(context, target, rate, stop, as_json)
            if differing and differences == "refuse":
                report(_refusal(differing, found.live, seconds), as_json, ended="refused", differing=differing)
                return 1
            record_act(settings, act, {"projection": name, "from": str(found.live), "to": str(target)})
            if name == "relations" and differences == "publish":
                correcting = CorrectionPublisher(database, Topics(settings.topic_prefix), found.live, target)
                steps = hand_over(context, target, correcting, PATIENCE_SECONDS + 3 * seconds)
            else:
                steps = hand_over(context, target)
            started = time.monotonic()
            corrected = 0
            for step in steps:
                if step.startswith("found "):
                    corrected = int(step.split()[1])
                if stop.is_set() and context.registry.read().live != target:
                    steps.throw(Interrupted())
        except Interrupted:
            report(f"Stopped. Version {found.live} stays live.", as_json, ended="stopped")
            return 1
        except (Superseded, Failed) as error:
            report(str(error), as_json, ended="failed")
            return 1
        seconds = time.monotonic() - started
    text = (
        f"Version {target} of {name} is live; the handover took {seconds:.1f} s. Version {found.live} is kept: "
        f"`kith rebuild rollback {name}` switches back to it, `kith rebuild drop {name}` deletes it."
    )
    if corrected:
        text += f" {corrected:,} corrections were published, one for each fact that differs."
    fields = {"projection": name, "live": target, "previous": found.live, "corrected": corrected}
    report(text, as_json, ended="switched", **fields, seconds=round(seconds, 3))
    return 0


def _no_target(name: Name, found: Generations) -> str:
    if found.building is not None:
        return f"version {found.building} of {name} was never live; `kith rebuild switch {name}` makes it live"
    if found.previous is not None:
        back = f"`kith rebuild rollback {name}` switches back to it"
        return f"version {found.previous} of {name} was live before; {back}"
    return f"version {found.live} of {name} is the only one; `kith rebuild {name}` builds another"


def _refusal(count: int, live: int, seconds: float) -> str:
    facts, are = ("fact", "is") if count == 1 else ("facts", "are")
    return (
        f"Not switched: {count:,} {facts} {are} different. Consumers of the change topics, analytics among them, "
        f"hold the facts of version {live}. `kith rebuild diff relations` shows the differences.\n"
        "  --differences publish   publishes a change for each. Use it when code or settings have changed. The "
        f"service pauses meanwhile, for about {duration(max(1.0, seconds))}.\n"
        "  --differences ignore    publishes nothing. Use it when documents were changed by other means, of "
        "which no change was published."
    )
