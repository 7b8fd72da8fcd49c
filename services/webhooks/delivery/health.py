"""How an endpoint is doing: how many attempts it gets at a time, and when it is disabled."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from services.webhooks.delivery import retry_policy
from services.webhooks.delivery.queue import Changes
from shared.runtime.protocols import Document

_NEVER = datetime.fromtimestamp(0, UTC)
_LONGEST_THROTTLE = 3_600.0
#: How old the time of the latest success, in the endpoint, may be.
_REMEMBERED = timedelta(minutes=1)


class Health:
    """The health of one endpoint, which begins as its document says. ``loop_time`` is the event loop's time."""

    def __init__(self, endpoint: Document) -> None:
        self._failures: int = endpoint.get("failures", 0)
        self._failing_since: datetime | None = endpoint.get("failing_since")
        # Not out of the log, which is trimmed to the latest. Documents of before have none: such an endpoint is
        # disabled half a day after its next failure at the earliest.
        self._failed: list[datetime] = endpoint.get("failed", [])
        self._resume_at = 0.0

    def renew(self) -> None:
        """It works, or somebody has changed it."""
        self._failures, self._failing_since, self._failed, self._resume_at = 0, None, [], 0.0

    def room(self, most: int, loop_time: float) -> int:
        """How many attempts may be under way: ``most``, or, after failures in a row, one now and then, which shows
        whether the endpoint works again."""
        if self._failures < retry_policy.BREAKS_AFTER:
            return most
        return 1 if loop_time >= self._resume_at else 0

    def failed(
        self, status: int | None, wish: float | None, now: datetime, loop_time: float, jitter: Callable[[], float]
    ) -> None:
        """An attempt has failed. ``wish``: the seconds after which the receiver wants another one."""
        self._failures += 1
        # As MongoDB stores it: what is read again is no change.
        now = now.replace(microsecond=now.microsecond // 1_000 * 1_000)
        self._failing_since = self._failing_since or now
        self._failed = retry_policy.with_failure(self._failed, now)
        pause = retry_policy.pause(self._failures, jitter())
        if status in retry_policy.THROTTLING:
            # The endpoint as a whole is not ready.
            pause = max(pause, min(wish or 0.0, _LONGEST_THROTTLE))
            self._failures = max(self._failures, retry_policy.BREAKS_AFTER)
        self._resume_at = loop_time + pause

    def is_given_up(self, now: datetime) -> bool:
        """Whether it fails for so long, again and again, that it is to be disabled."""
        return retry_policy.is_given_up(self._failing_since, self._failed, now)

    def changes(self, endpoint: Document, now: datetime, *, delivered: bool, gone: bool) -> Changes:
        """What is to be stored of it after attempts, of which one was ``delivered`` or answered 410 (``gone``)."""
        changes, given_up = Changes(), self.is_given_up(now)
        if delivered:
            self.renew()
            if "failing_since" in endpoint or now - endpoint.get("succeeded", _NEVER) > _REMEMBERED:
                changes.stated["succeeded"] = now
                changes.removed |= {"failing_since", "failures", "failed"}
        elif self._failing_since is not None:
            if self._failing_since != endpoint.get("failing_since"):
                changes.stated |= {"failing_since": self._failing_since, "failures": self._failures}
            if self._failed != endpoint.get("failed", []):
                changes.stated["failed"] = self._failed
        if gone or (given_up and not delivered):
            reason = "the endpoint answered 410 Gone" if gone else "no delivery has succeeded for five days"
            changes.stated |= {"state": "disabled", "reason": reason, "notice": True}
        return changes
