"""Kafka and MongoDB in memory. The contract suite compares their behaviour with the real adapters."""
