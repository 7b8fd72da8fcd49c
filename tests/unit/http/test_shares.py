"""What tenants share is bounded per credential first, then per tenant, and only then for the process."""

import pytest

from shared.contracts.limits import Most, Owner
from shared.http.server import Refusal
from shared.http.shares import Share

A1, A2, A3, B1 = Owner("a", "1"), Owner("a", "2"), Owner("a", "3"), Owner("b", "1")


def refused(share: Share, owner: Owner, amount: int = 1) -> tuple[int, str]:
    with pytest.raises(Refusal) as error:
        share.take(owner, amount)
    assert (error.value.headers or {})["Retry-After"] == "7"
    return error.value.status_code, str(error.value.detail)


def test_the_credential_is_bounded_first_then_the_tenant_then_the_process() -> None:
    share = Share("exports in progress", Most(2, 3, 4), retry_seconds=7)
    share.take(A1, 2)
    assert refused(share, A1) == (
        429,
        "this credential already has 2 exports in progress in this process, its maximum; "
        "retry when some have ended",
    )
    share.take(A2)
    status, detail = refused(share, A3)
    assert (status, "this tenant already has 3 exports in progress" in detail) == (429, True)
    share.take(B1)
    status, detail = refused(share, B1)
    assert (status, "this process already has 4 exports in progress" in detail) == (503, True)
    assert share.used == 4


def test_what_is_refused_takes_nothing_and_what_is_given_back_can_be_taken() -> None:
    share = Share("x", Most(2, 2, 2), retry_seconds=7)
    refused(share, A1, 3)
    with share.taken(A1, 2):
        refused(share, A1)
        refused(share, B1)
    with pytest.raises(ZeroDivisionError), share.taken(B1, 2):
        raise ZeroDivisionError
    share.take(A1, 2)
    assert share.used == 2
    share.give(A1, 2)
    assert (share._credentials, share._tenants, share.used) == ({}, {}, 0), "nothing is remembered of who was here"


def test_without_credentials_only_the_process_is_bounded() -> None:
    share, anyone = Share("x", Most(1, 1, 3), retry_seconds=7), Owner("default", "open", False)
    share.take(anyone, 3)
    assert refused(share, anyone)[0] == 503


@pytest.mark.parametrize(
    "text", ["", "1", "1/2", "2/1/3", "0/1/2", "1/2/3/4", "a/b/c", "1/2/-1", "1/2/²", "1/2/1e"]
)
def test_a_share_is_three_ascending_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="credential"):
        Most.parse(text)


def test_a_share_is_read_as_it_is_written() -> None:
    assert Most.parse(" 2/ 4/8") == Most(2, 4, 8)
    assert str(Most(2, 4, 8)) == "2/4/8"
