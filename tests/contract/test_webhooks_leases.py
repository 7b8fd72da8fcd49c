"""Who sends for which endpoint, on the real server."""

from datetime import timedelta
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from services.webhooks.deliveries import LEASES
from services.webhooks.delivery import leases as module
from services.webhooks.delivery.leases import LEASE, Leases, process_lease
from shared.mongo.store import server_time
from shared.runtime.protocols import Document

ENDPOINTS = [f"acme:{number}" for number in range(4)]


def test_what_another_process_holds_is_not_taken_until_it_has_ended(mongo_database: Database[Document]) -> None:
    one, two = Leases(mongo_database, "one"), Leases(mongo_database, "two")
    assert one.take([]) == set()
    assert one.take(ENDPOINTS[:2]) == {*ENDPOINTS[:2]}
    assert two.take(ENDPOINTS) == {*ENDPOINTS[2:]}
    assert one.take(ENDPOINTS) == {*ENDPOINTS[:2]}
    one.release(ENDPOINTS)
    assert two.take(ENDPOINTS) == {*ENDPOINTS}
    later = server_time(mongo_database) + LEASE + timedelta(seconds=1)
    with patch.object(module, "server_time", lambda _: later):
        assert one.take(ENDPOINTS[1:]) == {*ENDPOINTS[1:]}
    assert two.take(ENDPOINTS) == {ENDPOINTS[0]}


def test_what_others_hold_is_known(mongo_database: Database[Document]) -> None:
    one, two = Leases(mongo_database, "one"), Leases(mongo_database, "two")
    one.take(ENDPOINTS[:2])
    two.take(ENDPOINTS[2:])
    assert one.others() == {*ENDPOINTS[2:]}
    later = server_time(mongo_database) + LEASE + timedelta(seconds=1)
    with patch.object(module, "server_time", lambda _: later):
        assert one.others() == set()


def test_processes_are_known_by_their_own_leases(mongo_database: Database[Document]) -> None:
    one, two = Leases(mongo_database, "one"), Leases(mongo_database, "two")
    one.take([process_lease("one"), ENDPOINTS[0]])
    two.take([process_lease("two")])
    assert one.owners() == {"one", "two"}
    two.release([process_lease("two")])
    assert one.owners() == {"one"}


def test_any_number_of_leases_takes_as_many_requests(mongo_database: Database[Document]) -> None:
    """They are renewed in time however many endpoints there are."""
    leases, counts = Leases(mongo_database, "one"), []
    for number in (1, 500):
        ids = [f"acme:{each}" for each in range(number)]
        with patch.object(leases._leases, "bulk_write", wraps=leases._leases.bulk_write) as written:
            assert leases.take(ids) == {*ids}
        counts.append(written.call_count)
    assert counts == [1, 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["one", "two"]),
            st.sampled_from(["take", "release", "wait"]),
            st.sets(st.sampled_from(ENDPOINTS), min_size=1),
        ),
        max_size=8,
    )
)
def test_an_endpoint_never_has_two_senders(
    mongo_database: Database[Document], steps: list[tuple[str, str, set[str]]]
) -> None:
    mongo_database[LEASES].delete_many({})
    passed, model = timedelta(), dict[str, tuple[str, timedelta]]()
    begun = server_time(mongo_database)
    with patch.object(module, "server_time", lambda _: begun + passed):
        for owner, step, ids in steps:
            leases = Leases(mongo_database, owner)
            if step == "wait":
                passed += timedelta(seconds=11)
            elif step == "release":
                leases.release(ids)
                model = {id: held for id, held in model.items() if id not in ids or held[0] != owner}
            else:
                free = {id for id in ids if id not in model or model[id][0] == owner or model[id][1] < passed}
                assert leases.take(ids) == free
                model |= dict.fromkeys(free, (owner, passed + LEASE))


def test_a_version_before_holds_what_it_has_taken(mongo_database: Database[Document]) -> None:
    """Its documents are the same."""
    now = server_time(mongo_database)
    mongo_database[LEASES].insert_one({"_id": ENDPOINTS[0], "owner": "old", "until": now + LEASE, "epoch": 7})
    assert Leases(mongo_database, "one").take(ENDPOINTS[:1]) == set()
    assert Leases(mongo_database, "old").take(ENDPOINTS[:1]) == {ENDPOINTS[0]}
    [found] = mongo_database[LEASES].find()
    assert found["epoch"] == 8
