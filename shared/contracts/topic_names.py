"""The short names of the topics; ``Topics`` puts the prefix before them. Pure."""

INPUTS = ("consumers", "providers", "relations")
#: Who is erased, by consumer: compacted, and never deleted.
LEDGER = "erasures"
#: A copy of the audit, to hold against the one in MongoDB.
AUDIT = "audit"
DEAD_LETTERS = "dead-letters"
#: What is emitted about the documents of an input goes to this output, partition by partition.
CHANGES = {"consumers": "consumer-changes", "providers": "provider-changes", "relations": "relation-changes"}
OUTPUTS = (*CHANGES.values(), DEAD_LETTERS, LEDGER, AUDIT)
