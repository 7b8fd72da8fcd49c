"""The threads of a service, by the cost of the work that they do."""

from functools import partial

from shared.http.costs import Cost
from shared.http.fair_pool import FairPool
from shared.http.limits import Limits
from shared.http.processor import Processor


def pools_of(limits: Limits, processor: Processor | None) -> dict[Cost, FairPool]:
    """Threads for work of each cost. No work waits for work of another cost; all share ``processor``."""
    heavy, waiting = limits.heavy_threads, limits.heavy_waiting
    # One of the usual four: a second query of a tenant would slow down the others more than it helps the first.
    share = max(1, heavy // 4)
    pool = partial(FairPool, processor=processor)
    return {
        Cost.DOCUMENT: pool("document", limits.threads, limits.waiting, per_tenant=max(1, limits.threads // 4)),
        # Most of it is Python's work, as is that of measures: one thread computes at a time.
        Cost.LIST: pool("list", limits.threads, limits.waiting, per_tenant=max(1, limits.threads // 8)),
        Cost.QUERY: pool("query", heavy, waiting, what="queries waiting", per_tenant=share),
        Cost.MEASURE: pool("measure", heavy, waiting, what="measures waiting", per_tenant=share),
        Cost.COMPUTATION: _computing(limits),
    }


def _computing(limits: Limits) -> FairPool:
    """A thread for each process that computes, of which a tenant has half; without processes they are those of
    measures."""
    threads = limits.measure_processes or limits.heavy_threads
    share = max(1, threads // (2 if limits.measure_processes else 4))
    return FairPool("computation", threads, limits.heavy_waiting, what="measures waiting", per_tenant=share)
