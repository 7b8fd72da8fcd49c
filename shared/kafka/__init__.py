"""The Kafka adapters. ``clients`` selects one of the two client libraries."""
