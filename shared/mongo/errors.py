"""What MongoDB's errors mean: a lost race, an unavailable server, or an error that no retry can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from shared.contracts.errors import Stale, TooSlow, Unavailable

_WRITE_CONFLICT, _DUPLICATE_KEY, _INTERRUPTED = 112, 11000, 11601
#: Of a document, of a transaction, and of one that takes longer than transactionLifetimeLimitSeconds, or does not
#: fit into the cache: the server has aborted it, whoever caused that it was busy.
_TOO_LARGE = {10334, 257, 290, 388}
# A server that shuts down, is no longer primary, or cannot be reached by a router. Or one that cannot state yet
# whether a majority has the data, or that no longer has a snapshot or a cursor. Errors of reads have no label for
# that. (_INTERRUPTED: another process has claimed the position and ended this session.)
_PASSING = (
    *(_INTERRUPTED, 91, 189, 10107, 11600, 11602, 13388, 13435, 13436),
    *(6, 7, 63, 89, 133, 150, 234, 9001),
    *(43, 134, 246, 262),
)
# Folded again with fewer events, it may fit.
_WHAT_IS_TOO_LARGE = "a request, a document or a transaction is larger than MongoDB accepts"


@contextmanager
def translated() -> Iterator[None]:
    """Translates pymongo's errors: to Stale for lost races, to Unavailable for unavailable servers."""
    try:
        yield
    except DuplicateKeyError as error:
        raise Stale("another process has inserted the same document") from error
    except BulkWriteError as error:
        codes = _codes(error)
        if codes <= {_DUPLICATE_KEY} and error.details.get("writeConcernErrors"):
            raise Unavailable("MongoDB: no majority of the replica set has acknowledged the write") from error
        if codes and codes <= {_DUPLICATE_KEY, _WRITE_CONFLICT}:
            raise Stale("another transaction writes the same documents") from error
        if codes and codes <= _TOO_LARGE:
            raise Stale(_WHAT_IS_TOO_LARGE) from error
        raise
    except DocumentTooLarge as error:
        raise Stale(_WHAT_IS_TOO_LARGE) from error
    except ExecutionTimeout as error:
        raise TooSlow("MongoDB: the read exceeded its time limit") from error
    except ConnectionFailure as error:  # AutoReconnect, NetworkTimeout, server selection
        raise Unavailable(f"MongoDB: {type(error).__name__}") from error
    except PyMongoError as error:
        if isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT:
            raise Stale("another transaction writes the same documents") from error
        if isinstance(error, OperationFailure) and error.code in _TOO_LARGE:
            raise Stale(_WHAT_IS_TOO_LARGE) from error
        if _is_passing(error):
            raise Unavailable(f"MongoDB: {error}") from error
        raise


def only_duplicates(error: BulkWriteError) -> bool:
    """Whether every refused write was one of a document that is there already, and a majority has the others."""
    return _codes(error) == {_DUPLICATE_KEY} and not error.details.get("writeConcernErrors")


def _codes(error: BulkWriteError) -> set[int]:
    return {problem["code"] for problem in error.details.get("writeErrors", ())}


def _is_passing(error: PyMongoError) -> bool:
    labels = ("TransientTransactionError", "RetryableWriteError", "UnknownTransactionCommitResult")
    if isinstance(error, OperationFailure) and error.code in _PASSING:
        return True
    return any(error.has_error_label(label) for label in labels) or bool(getattr(error, "timeout", False))
