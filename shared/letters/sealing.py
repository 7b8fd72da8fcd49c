"""Dead letters and the vault: decrypted for inspection, encrypted again before they go back into Kafka."""

from collections.abc import Sequence

from shared.contracts.codec import decode, decode_internal
from shared.contracts.errors import ConfigurationError, InvalidEvent
from shared.contracts.wire import is_binary, normal, structured, without_attributes
from shared.runtime.protocols import Document, Message
from shared.vault.dead_letters import SEALED_FOR, opened, sealed_for
from shared.vault.fields import first_plaintext_path, seal_bytes
from shared.vault.keys import Vault
from shared.vault.protocols import Destroyed
from shared.vault.sealing import consumer_of, keys_for
from shared.vault.tokens import Unreadable


def with_values(letters: Sequence[Document], vault: Vault | None) -> list[Document]:
    """The letters with their original values; None in place of a value whose key is destroyed. Raises Unavailable,
    and ConfigurationError where there is no key to decrypt them with."""
    return [_with_value(letter, vault) for letter in letters]


def is_sealed(letter: Document) -> bool:
    """Whether the letter's value is encrypted."""
    headers = tuple((header["name"], header["value"]) for header in letter["headers"])
    return sealed_for(letter["value"], headers) is not None


def _with_value(letter: Document, vault: Vault | None) -> Document:
    headers = tuple((header["name"], header["value"]) for header in letter["headers"])
    value = letter["value"]
    if (owner := sealed_for(value, headers)) is None:
        return letter
    if vault is None:
        raise ConfigurationError(f"{letter['_id']} is encrypted, but KITH_ENCRYPTION is off; set the master key")
    tenant, consumer_id = owner
    key = vault.keys(tenant, [consumer_id], create=False).get(consumer_id)
    try:
        original = opened(value, owner, key)
    except Unreadable as error:
        raise ConfigurationError(f"{letter['_id']} cannot be decrypted: {error}") from None
    kept = [header for header in letter["headers"] if header["name"] != SEALED_FOR]
    return {**letter, "value": original, "headers": kept}


def sealed_again(message: Message, vault: Vault | None) -> Message | None:
    """The message as the door would publish it. None when it must not go into Kafka: it would be rejected again,
    and so be stored in plain text, or its consumer is erased. Raises Unavailable."""
    if vault is None:
        return message
    try:
        value, headers = message.value, message.headers
        if is_binary(headers):
            value, headers = structured(headers, value), without_attributes(headers)
        event = decode(value := normal(value))
        if first_plaintext_path(event) is None:
            return message
        key = keys_for(vault, [event])[consumer_of(event)]
        if isinstance(key, Destroyed):
            return None
        return message._replace(value=seal_bytes(value, event, key), headers=headers)
    except InvalidEvent:
        return message if decode_internal(message.value) is not None else None
