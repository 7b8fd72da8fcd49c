"""Prometheus metrics of the query cache."""

from services.relations.cache import QueryCache
from shared.observability.gauges import CallbackCounters


def cache_metrics(cache: QueryCache) -> CallbackCounters:
    """Hits and misses of ``cache``, read at each scrape."""
    names = {
        "kith_cache_hits": "Reads that were answered from memory.",
        "kith_cache_misses": "Reads that went to MongoDB.",
    }
    return CallbackCounters(names, lambda: (cache.hits, cache.misses))
