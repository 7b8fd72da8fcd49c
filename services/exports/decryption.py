"""Decrypts sealed values for callers who may see them."""

from collections.abc import Callable, Sequence

from shared.runtime.protocols import Document
from shared.vault import fields
from shared.vault.keys import Vault
from shared.vault.tokens import DataKey

#: Documents of consumers or relations of a tenant, with plain values in place of sealed ones.
Reveal = Callable[[str, Sequence[Document]], Sequence[Document]]


def decryptor(vault: Vault | None) -> Reveal | None:
    """Decrypts with the present keys of the documents' consumers: values of a destroyed key stay empty. None
    without a vault: then nothing is sealed."""
    if vault is None:
        return None

    def reveal(tenant: str, documents: Sequence[Document]) -> Sequence[Document]:
        keys = vault.keys(tenant, {document["consumer_id"] for document in documents}, create=False)
        return [
            fields.reveal(document, tenant, _key(keys.get(document["consumer_id"])))[0] for document in documents
        ]

    return reveal


def _key(found: object) -> DataKey | None:
    return found if isinstance(found, DataKey) else None
