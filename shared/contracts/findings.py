"""What operators have to look into: the names of the documents that count it. Pure."""

FINDINGS = "findings"
#: ``plaintext/<topic>`` counts events whose personal data reached Kafka in plain text, bypassing the door.
PLAINTEXT = "plaintext"
#: ``spelling/<collection>`` counts documents whose ids are not in NFC, of before ids were normalised.
SPELLING = "spelling"
#: ``lost-keys/<tenant>`` counts consumers whose data keys were lost with a database.
KEYS_LOST = "lost-keys"
#: ``lost-tenant-keys/<tenant>``: so was the tenant's own key; of the tenant ``*``, that of keys that sign.
TENANT_KEYS_LOST = "lost-tenant-keys"
