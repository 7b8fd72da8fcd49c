"""The adapters to Kafka. ``clients`` chooses one of the two libraries."""
