"""What pymongo's errors mean: an unavailable server, or an error that no retry will mend."""

import pytest
from pymongo.errors import (
    BulkWriteError,
    CursorNotFound,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from shared.contracts.errors import Stale, Unavailable
from shared.mongo.errors import only_duplicates, translated


@pytest.mark.parametrize(
    "error",
    [
        # As a server answers that is asked to end: it has deleted, but the set has not confirmed it.
        WriteConcernError("Replication is being shut down", 91, {"code": 91}),
        WriteConcernError("Primary stepped down", 189, {"code": 189}),
        OperationFailure("interrupted at shutdown", 11600),
        OperationFailure("not primary", 10107),
        OperationFailure("no majority can be read from yet", 134),
        OperationFailure("took too long", 262),
        OperationFailure("no host of the shard", 133),
        CursorNotFound("forgotten meanwhile", 43),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64, "errmsg": "waiting timed out"}]}),
        BulkWriteError({"writeErrors": [{"code": 11000}], "writeConcernErrors": [{"code": 64}]}),
    ],
)
def test_a_server_that_ends_is_away(error: PyMongoError) -> None:
    with pytest.raises(Unavailable), translated():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        WriteConcernError("there is no such write concern", 79, {"code": 79}),
        OperationFailure("not authorized", 13),
        OperationFailure("document failed validation", 121),
    ],
)
def test_what_trying_again_will_not_mend_is_raised_as_it_is(error: PyMongoError) -> None:
    with pytest.raises(type(error)) as raised, translated():
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        DocumentTooLarge("BSON document too large"),
        OperationFailure("BSONObj size is invalid", 10334),
        OperationFailure("the transaction exceeded the configured 'transactionLifetimeLimitSeconds'", 290),
        OperationFailure("the transaction is too large and will not fit in the storage engine cache", 388),
        BulkWriteError({"writeErrors": [{"code": 10334}]}),
    ],
)
def test_what_is_too_large_may_fit_with_fewer_events(error: Exception) -> None:
    with pytest.raises(Stale), translated():
        raise error


def test_what_is_not_on_a_majority_yet_is_no_mere_duplicate() -> None:
    duplicate = {"writeErrors": [{"code": 11000}]}
    assert only_duplicates(BulkWriteError(duplicate))
    assert only_duplicates(BulkWriteError({**duplicate, "writeConcernErrors": []}))
    assert not only_duplicates(BulkWriteError({**duplicate, "writeConcernErrors": [{"code": 64}]}))
    assert not only_duplicates(BulkWriteError({"writeErrors": [{"code": 11000}, {"code": 121}]}))
