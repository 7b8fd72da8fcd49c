"""Prometheus metrics of the relations service beside those of every worker."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.relations.cache import QueryCache
from shared.observability.gauges import CallbackCounters


def plaintext_metric(registry: CollectorRegistry) -> Counter:
    return Counter(
        "kith_plaintext_events",
        "Events with personal data that were published to Kafka in plain text, past the door, and sealed "
        "by the worker.",
        ["topic"],
        registry=registry,
    )


def spelling_metric(registry: CollectorRegistry) -> Gauge:
    return Gauge(
        "kith_ids_not_in_nfc",
        "Stored documents whose ids are not in Unicode's form NFC; `kith rebuild relations` brings them together.",
        ["collection"],
        registry=registry,
    )


def lost_keys_metric(registry: CollectorRegistry) -> Gauge:
    return Gauge(
        "kith_consumers_without_key",
        "Consumers, and tenants themselves, whose data key was lost with a database: what was sealed with it "
        "cannot be read again.",
        registry=registry,
    )


def cache_metrics(cache: QueryCache) -> CallbackCounters:
    """Hits and misses of ``cache``, read at each scrape."""
    names = {
        "kith_cache_hits": "Reads that were answered from memory.",
        "kith_cache_misses": "Reads that went to MongoDB.",
    }
    return CallbackCounters(names, lambda: (cache.hits, cache.misses))
