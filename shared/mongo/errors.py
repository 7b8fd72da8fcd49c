"""What MongoDB's errors mean: a lost race, an unavailable server, or an error that no retry will mend."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from shared.contracts.errors import Stale, Unavailable

_WRITE_CONFLICT, _DUPLICATE_KEY, _INTERRUPTED = 112, 11000, 11601
_TOO_LARGE = 10334
# A server that ends, is no longer primary, or cannot be reached by a router; one that cannot say yet whether the
# others have it, or no longer knows a snapshot or a cursor. Its errors about reads bear no label that says so.
# (_INTERRUPTED is: someone has claimed the position and ended this session.)
_PASSING = (
    *(_INTERRUPTED, 91, 189, 10107, 11600, 11602, 13388, 13435, 13436),
    *(6, 7, 63, 89, 133, 150, 234, 9001),
    *(43, 134, 246, 262),
)
# Folded anew with fewer events, it may fit.
_WHAT_IS_TOO_LARGE = "a question or a document is larger than MongoDB takes"


@contextmanager
def translated() -> Iterator[None]:
    """pymongo's errors as Kith's: Stale for lost races, Unavailable for servers that are unavailable."""
    try:
        yield
    except DuplicateKeyError as error:
        raise Stale("a document has come into being meanwhile") from error
    except BulkWriteError as error:
        codes = {problem["code"] for problem in error.details.get("writeErrors", ())}
        if codes and codes <= {_DUPLICATE_KEY, _WRITE_CONFLICT}:
            raise Stale("another transaction writes the same documents") from error
        if codes == {_TOO_LARGE}:
            raise Stale(_WHAT_IS_TOO_LARGE) from error
        if not codes and error.details.get("writeConcernErrors"):
            raise Unavailable("MongoDB: no majority has acknowledged what was written") from error
        raise
    except DocumentTooLarge as error:
        raise Stale(_WHAT_IS_TOO_LARGE) from error
    except ConnectionFailure as error:  # AutoReconnect, NetworkTimeout, server selection
        raise Unavailable(f"MongoDB: {type(error).__name__}") from error
    except PyMongoError as error:
        if isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT:
            raise Stale("another transaction writes the same documents") from error
        if isinstance(error, OperationFailure) and error.code == _TOO_LARGE:
            raise Stale(_WHAT_IS_TOO_LARGE) from error
        if _is_passing(error):
            raise Unavailable(f"MongoDB: {error}") from error
        raise


def _is_passing(error: PyMongoError) -> bool:
    labels = ("TransientTransactionError", "RetryableWriteError", "UnknownTransactionCommitResult")
    if isinstance(error, OperationFailure) and error.code in _PASSING:
        return True
    return any(error.has_error_label(label) for label in labels) or bool(getattr(error, "timeout", False))
