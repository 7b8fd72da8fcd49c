"""Redacts consumers and relations for a caller: decrypts sealed values, or masks personal fields."""

from collections.abc import Callable, Sequence

from shared.access.masks import presented
from shared.http.caller import PERSONAL_READ, Caller
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.sealing import opener

#: Maps a record or a page of records, the paths of its personal fields and the caller to the redacted document and
#: the personal fields that it shows.
Redactor = Callable[[Document, Sequence[str], Caller], tuple[Document, list[str]]]


def redactor(vault: Vault | None) -> Redactor:
    """A Redactor that decrypts sealed values with ``vault``, only for callers with ``personal:read``. A value that
    cannot be decrypted (its key is destroyed, or an event in Kafka only looked sealed) is left out, and the
    answer's member ``unreadable`` names it. Raises Unavailable."""
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
