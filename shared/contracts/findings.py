"""What operators are told to look into: names of the documents that count it. Pure."""

FINDINGS = "findings"
#: ``plaintext/<topic>`` counts events whose personal data came into Kafka in plain text, past the door.
PLAINTEXT = "plaintext"
