"""What operators have to look into: the names of the documents that count it. Pure."""

FINDINGS = "findings"
#: ``plaintext/<topic>`` counts events whose personal data reached Kafka in plain text, bypassing the door.
PLAINTEXT = "plaintext"
