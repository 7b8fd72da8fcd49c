"""Blocking work in threads of its own, in turns: between tenants first, then between a tenant's credentials.

Nothing in a request's path waits on asyncio's default thread pool or on Starlette's, which all tenants share
without turns.
"""

import asyncio
import contextvars
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from shared.contracts.limits import Most, Owner
from shared.http.processor import Processor
from shared.http.shares import Share

P = ParamSpec("P")
T = TypeVar("T")


class _Job:
    __slots__ = ("call", "context", "future", "owner", "waits")

    def __init__(self, owner: Owner, call: Callable[[], Any]) -> None:
        self.owner, self.call = owner, call
        self.future: Future[Any] = Future()
        self.context = contextvars.copy_context()
        self.waits = True


class FairPool:
    """Thread-safe. A tenant occupies at most ``per_tenant`` threads (half of them, unless stated), so that one
    is free for another tenant; beyond that its work waits, and beyond ``waiting`` it is refused.

    With a ``processor``, work also waits while its tenant has used more than its share of that; what the threads
    compute is counted. ``what`` completes "this tenant already has 64 …".
    """

    def __init__(
        self,
        name: str,
        threads: int,
        waiting: Most,
        *,
        what: str = "requests waiting",
        per_tenant: int | None = None,
        processor: Processor | None = None,
        computed: Callable[[], float] = time.thread_time,
    ) -> None:
        """``computed``: the seconds that the calling thread has computed so far."""
        self.threads = threads
        self.per_tenant = max(1, threads // 2) if per_tenant is None else per_tenant
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting = Share(what, waiting)
        self._processor, self._computed = processor, computed
        #: Starts what waits for its tenant's share of the processor.
        self._timer: threading.Timer | None = None
        self._due = 0.0
        self._lock = threading.Lock()
        #: By tenant, then by credential; both in the order of their turns.
        self._turns: dict[str, dict[str, deque[_Job]]] = {}
        self._running: Counter[str] = Counter()
        self._busy = 0

    def submit(self, owner: Owner, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """The future of ``function``'s result. Cancelling it takes it out of the queue. Raises Refusal (429, 503)
        when too much waits."""
        job = _Job(owner, lambda: function(*args, **kwargs))
        self._waiting.take(owner)
        if self._processor is not None:
            self._processor.wanted(owner)
        with self._lock:
            self._turns.setdefault(owner.tenant, {}).setdefault(owner.key, deque()).append(job)
        job.future.add_done_callback(lambda _: self._left(job))
        self._start()
        return job.future

    async def run(self, owner: Owner, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function``'s result. If the waiting task is cancelled, what has not begun does not begin."""
        return await asyncio.wrap_future(self.submit(owner, function, *args, **kwargs))

    def close(self) -> None:
        """Begin nothing more. What runs, ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> bool:
        """Start a job. False when there is none to start, or no thread."""
        with self._lock:
            if self._busy >= self.threads or (job := self._next()) is None:
                return False
            self._busy += 1
        try:
            self._executor.submit(self._work, job)
        except RuntimeError as error:  # closed, because the process is stopping
            with self._lock:
                self._busy -= 1
                self._ended(job)
            job.future.set_exception(error)
        return True

    def _start_later(self, seconds: float) -> None:
        """Needs the lock."""
        due = time.monotonic() + seconds
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._timer, self._due = threading.Timer(seconds, self._start_what_waited, [due]), due
        self._timer.daemon = True
        self._timer.start()

    def _start_what_waited(self, due: float) -> None:
        with self._lock:
            if self._due == due:
                self._timer = None
        while self._start():
            pass

    def _work(self, job: _Job | None) -> None:
        while job is not None:
            before = self._computed()
            try:
                result = job.context.run(job.call)
            except BaseException as error:
                self._spent(job, before)
                job.future.set_exception(error)
                del error
            else:
                self._spent(job, before)
                job.future.set_result(result)
                del result
            with self._lock:
                self._ended(job)
                job = self._next()
                if job is None:
                    self._busy -= 1

    def _spent(self, job: _Job, before: float) -> None:
        if self._processor is not None:
            self._processor.spent(job.owner, self._computed() - before)

    def _ended(self, job: _Job) -> None:
        self._running[job.owner.tenant] -= 1
        if not self._running[job.owner.tenant]:
            del self._running[job.owner.tenant]

    def _next(self) -> _Job | None:
        """The job whose turn it is, with its thread counted; None while there is none. Needs the lock."""
        soonest = math.inf
        for tenant, credentials in list(self._turns.items()):
            owner = next(iter(credentials.values()))[0].owner
            if self._running[tenant] >= self.per_tenant and owner.bounded:
                continue
            if self._processor is not None and (seconds := self._processor.wait_seconds(owner)) > 0:
                soonest = min(soonest, seconds)
                continue
            key, jobs = next(iter(credentials.items()))
            job = jobs.popleft()
            # Both go to the end of their queues.
            del credentials[key], self._turns[tenant]
            if jobs:
                credentials[key] = jobs
            if credentials:
                self._turns[tenant] = credentials
            self._no_longer_waits(job)
            if not job.future.set_running_or_notify_cancel():
                return self._next()
            self._running[tenant] += 1
            return job
        if soonest < math.inf:
            self._start_later(soonest)
        return None

    def _left(self, job: _Job) -> None:
        """A job is done. If it was cancelled while it waited, it leaves the queue."""
        if not job.waits:
            return
        with self._lock:
            if not job.waits:
                return
            credentials = self._turns[job.owner.tenant]
            credentials[job.owner.key].remove(job)
            if not credentials[job.owner.key]:
                del credentials[job.owner.key]
            if not credentials:
                del self._turns[job.owner.tenant]
            self._no_longer_waits(job)

    def _no_longer_waits(self, job: _Job) -> None:
        job.waits = False
        self._waiting.give(job.owner)
