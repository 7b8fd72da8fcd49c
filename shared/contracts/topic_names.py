"""The short names of the topics; ``Topics`` adds the prefix. Pure."""

INPUTS = ("consumers", "providers", "relations")
#: Erased consumers: compacted, and never deleted.
LEDGER = "erasures"
#: Wrapped data keys and the marks of destroyed ones: compacted. Only with KITH_KEYS_TOPIC=on.
WRAPPED_KEYS = "keys"
#: A copy of the audit, to compare with the one in MongoDB.
AUDIT = "audit"
DEAD_LETTERS = "dead-letters"
#: Messages about the documents of an input go to this output, partition by partition.
CHANGES = {"consumers": "consumer-changes", "providers": "provider-changes", "relations": "relation-changes"}
OUTPUTS = (*CHANGES.values(), DEAD_LETTERS, LEDGER, AUDIT)
