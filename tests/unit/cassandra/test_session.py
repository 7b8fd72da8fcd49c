"""What the driver's errors mean."""

import pytest
from cassandra import AuthenticationFailed, InvalidRequest, OperationTimedOut, Unauthorized
from cassandra.cluster import NoHostAvailable

from shared.cassandra.session import translated
from shared.contracts.errors import NotPrepared, Unavailable


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperationTimedOut(), "OperationTimedOut"),
        (NoHostAvailable("none", {"a": OSError()}), "no node answers"),
        # A node that cannot reach the replicas of system_auth says the same as of a wrong password.
        (NoHostAvailable("none", {"a": AuthenticationFailed("secret")}), "refuses the user or password"),
        (AuthenticationFailed("secret"), "refuses the user"),
        (Unauthorized("secret"), "refuses the user"),
    ],
)
def test_an_outage_and_a_refused_user_are_tried_again(error: Exception, said: str) -> None:
    with pytest.raises(Unavailable, match=said) as raised, translated():
        raise error
    assert "secret" not in str(raised.value)


def test_what_no_retry_mends_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="a fault"), translated():
        raise ValueError("a fault")


@pytest.mark.parametrize(
    "said",
    [
        "table relations_by_consumer does not exist",
        "keyspace kith does not exist",
        "unconfigured table aggregates",
    ],
)
def test_tables_that_are_not_there_are_named_with_what_makes_them(said: str) -> None:
    with pytest.raises(NotPrepared, match="kith rebuild cassandra"), translated():
        raise InvalidRequest(f'Error from server: code=2200 [Invalid query] message="{said}"')


def test_a_column_that_is_missing_is_waited_for_and_named() -> None:
    said = "Undefined column name rating in table kith.relations_by_consumer"
    with pytest.raises(Unavailable, match=f"with other columns.*: {said}$"), translated():
        raise InvalidRequest(f'Error from server: code=2200 [Invalid query] message="{said}"')


def test_another_invalid_statement_is_a_fault_of_the_code() -> None:
    with pytest.raises(InvalidRequest), translated():
        raise InvalidRequest("Invalid amount of bind variables")
