"""The Kafka client confluent-kafka (librdkafka)."""
