"""Kafka and MongoDB in memory, held by the contract suite to what the real adapters do."""
