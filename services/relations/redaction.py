"""What a caller sees of consumers and relations: sealed values opened, or personal fields masked."""

from collections.abc import Callable, Sequence

from shared.access.masks import presented
from shared.http.caller import PERSONAL_READ, Caller
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.sealing import opener

#: A record or a page of records, the paths of what is personal in a record, and who asks, to what is shown and
#: which of the personal fields it shows.
Redactor = Callable[[Document, Sequence[str], Caller], tuple[Document, list[str]]]


def redactor(vault: Vault | None) -> Redactor:
    """A Presenter that opens sealed values with ``vault``, for callers with ``personal:read`` only. What does not
    open (its key is destroyed, or somebody wrote into Kafka what only looks sealed) is left out, and the answer's
    member ``unreadable`` names it. Raises Unavailable."""
    opened = opener(vault)

    def present(document: Document, personal: Sequence[str], caller: Caller) -> tuple[Document, list[str]]:
        if not caller.may(PERSONAL_READ):
            return presented(document, personal, caller)
        page = isinstance(document.get("items"), list)
        found = opened(caller.tenant, document["items"] if page else [document])
        records = [record for record, _ in found]
        shown = {**document, "items": records} if page else records[0]
        if failed := sorted({path for _, paths in found for path in paths}):
            shown = {**shown, "unreadable": failed}
        return presented(shown, personal, caller)

    return present
