"""The Kafka client kafka-python."""
