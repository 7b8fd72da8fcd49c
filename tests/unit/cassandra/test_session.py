"""What the driver's errors mean."""

import pytest
from cassandra import AuthenticationFailed, OperationTimedOut, Unauthorized
from cassandra.cluster import NoHostAvailable

from shared.cassandra.session import translated
from shared.contracts.errors import Unavailable


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
