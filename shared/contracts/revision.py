"""The revision of the event schema and of the validators: what versions side by side agree on. Pure.

A door and the workers behind it may be of different versions while an installation is upgraded. The door accepts
an event only if every running worker understands it; none makes a dead letter of it or ignores a part of it.
Validators of a later revision accept what an earlier version writes, so a worker leaves them as they are.
``tests/data/revisions.json`` holds the fields and the validators' digest of every revision; a test fails until
a change of either has one.
"""

from collections.abc import Mapping

from shared.contracts.events import ConsumerUpserted, Event, ProviderUpserted

#: 2: ``sequence``, and null in a group of a profile, which removes a field. 3: sums count facts by currency.
#: 4: webhook endpoints remember when they failed.
REVISION = 4
#: Workers from before there were revisions report none.
FIRST = 1


def needed(event: Event) -> int:
    """The lowest revision of a worker that folds ``event`` as this version does."""
    if event.sequence is not None or event.sequencetype is not None:
        return 2
    if isinstance(event, (ConsumerUpserted, ProviderUpserted)) and _removes(event):
        return 2
    return FIRST


def _removes(event: ConsumerUpserted | ProviderUpserted) -> bool:
    """Whether a field of the profile is stated as null."""
    data = event.data
    groups: list[Mapping[str, object] | None] = [data.traits]
    if isinstance(event, ConsumerUpserted):
        groups += [event.data.personal, event.data.consent]
    elif any(getattr(data, name) is None for name in data.model_fields_set & {"name", "categories"}):
        return True
    if any(group is not None and None in group.values() for group in groups):
        return True
    location = data.location
    return location is not None and any(getattr(location, name) is None for name in location.model_fields_set)
