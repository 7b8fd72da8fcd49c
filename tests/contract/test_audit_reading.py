"""Reading the audit and the list of erasures, over HTTP and by command, on a real MongoDB."""

import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app as kith
from services.cli.audit_list import entries_table, gathered
from shared.access import audit_reading
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.audit_mongo import MongoAuditLog
from shared.access.audit_reading import AuditFilter, MongoAuditReader
from shared.access.chain import FIRST, INSTALLATION, Act, Entry, entry_of
from shared.access.guard import Access
from shared.contracts.spelling import nfc
from shared.erasure.records import erasure_id
from shared.http.caller import Caller
from tests.conftest import Addresses
from tests.contract.test_privacy import upserted
from tests.support.builders import event
from tests.support.privacy_driver import Services
from tests.support.relations_driver import Mongo

KEY = {"Authorization": "Bearer kith_x"}
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
ACTIONS = ["personal.read", "keys.create", "keys.revoke", "keysmith", "consumer.erase"]
SUBJECTS = ["c1", "c2", "$who", "a.b", "(c", "caf\u00e9"]


def filled(database: Mongo, count: int, tenant: str = "acme", seed: int = 1) -> list[Entry]:
    chance, entries = random.Random(seed), list[Entry]()
    for number in range(count):
        act = Act(
            tenant,
            chance.choice(["ann", "bob"]),
            chance.choice(["aaaa1111", "command"]),
            chance.choice(ACTIONS),
            {"consumer_id": chance.choice(SUBJECTS)},
            ("personal.name",) if number % 3 == 0 else (),
            {"n": number},
        )
        previous = entries[-1]["hash"] if entries else FIRST
        entries.append(entry_of(act, BEGIN + timedelta(minutes=number), number + 1, previous, None))
    if entries:
        MongoAuditLog(database).append(entries)
    return entries


def expected(entries: list[Entry], sought: AuditFilter) -> list[Entry]:
    """The plain meaning of a filter, the latest first."""

    def wanted(entry: Entry) -> bool:
        time = datetime.fromisoformat(entry["time"])
        return (
            (sought.subject is None or nfc(sought.subject) in entry["subject"].values())
            and (sought.caller is None or sought.caller in (entry["who"], entry["key"]))
            and (
                sought.action is None
                or entry["action"] == sought.action
                or entry["action"].startswith(f"{sought.action}.")
            )
            and (sought.first is None or time >= sought.first)
            and (sought.end is None or time < sought.end)
        )

    return [entry for entry in reversed(entries) if wanted(entry)]


@pytest.mark.parametrize("span", [1, 7, 20_000])
def test_pages_are_the_entries_that_a_filter_lets_through(
    mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch, span: int
) -> None:
    monkeypatch.setattr(audit_reading, "_SPAN", span)
    monkeypatch.setattr(audit_reading, "_MOST", 3 * span)
    entries = filled(mongo_database, 120)
    filled(mongo_database, 40, tenant="other", seed=2)
    reader = MongoAuditReader(mongo_database)
    chance = random.Random(span)
    filters = [
        AuditFilter(),
        *(AuditFilter(subject=subject) for subject in SUBJECTS),
        *(AuditFilter(action=action) for action in (*ACTIONS, "keys", "personal", "key", "", "\x00", "keys\x00")),
        AuditFilter(caller="ann", action="keys", subject="c1"),
        AuditFilter(subject="cafe\u0301"),
        AuditFilter(caller="aaaa1111"),
        AuditFilter(caller="nobody"),
        AuditFilter(first=BEGIN + timedelta(minutes=30), end=BEGIN + timedelta(minutes=60)),
        AuditFilter(first=BEGIN + timedelta(days=9)),
    ]
    for sought in filters:
        limit, below, found = chance.choice([1, 5, 200]), None, list[Entry]()
        while True:
            page, below = reader.latest("acme", sought, limit, below)
            assert len(page) <= limit
            found += page
            if below is None:
                break
        assert found == expected(entries, sought), sought
        assert gathered(reader, "acme", sought, 3)[0] == expected(entries, sought)[:3]
    assert reader.latest("nobody", AuditFilter(), 5) == ([], None)


def test_a_short_period_does_not_look_through_everything(
    mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_reading, "_SPAN", 10)
    filled(mongo_database, 300)
    sought = AuditFilter(first=BEGIN + timedelta(minutes=295), caller="nobody")
    assert MongoAuditReader(mongo_database).latest("acme", sought, 5) == ([], None)


ADMIN = Caller("acme", frozenset({"admin"}), name="officer", key="bbbb2222")


class Fixed:
    """A lookup of credentials that knows one caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def caller(self, text: str) -> Caller:
        assert text.startswith("kith_")
        return self._caller


def services(database: Mongo, caller: Caller = ADMIN) -> Services:
    recorder = Recorder(MongoAuditLog(database), lambda: BEGIN + timedelta(days=20))
    return Services(database, Access(Fixed(caller), audit=recorder))


def asked(world: Services, path: str, status: int = 200) -> Any:
    answer = world.call("GET", path, headers=KEY)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_route_shows_a_tenant_its_own_entries_and_puts_that_on_record(mongo_database: Mongo) -> None:
    entries = filled(mongo_database, 40)
    filled(mongo_database, 5, tenant="other", seed=2)
    world = services(mongo_database)
    first = asked(world, "/v1/audit?limit=5&caller=ann")
    of_ann = expected(entries, AuditFilter(caller="ann"))
    assert [item["sequence"] for item in first["items"]] == [entry["sequence"] for entry in of_ann[:5]]
    assert {item["tenant"] for item in first["items"]} == {"acme"}
    rest = asked(world, f"/v1/audit?limit=50&caller=ann&cursor={first['next']}")
    assert [item["sequence"] for item in rest["items"]] == [entry["sequence"] for entry in of_ann[5:]]
    assert rest["next"] is None
    looked = asked(world, "/v1/audit?action=audit")["items"]
    assert [(item["who"], item["credential"], item["action"], item["subject"]) for item in looked] == [
        ("officer", "bbbb2222", "audit.read", {"action": "audit"}),
        ("officer", "bbbb2222", "audit.read", {"caller": "ann"}),
        ("officer", "bbbb2222", "audit.read", {"caller": "ann"}),
    ]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("from=soon", 400, "from"),
        ("from=2026-11-02&to=2026-11-01", 400, "to"),
        ("cursor=nonsense", 400, "cursor"),
        ("limit=0", 422, "limit"),
        ("colour=red", 422, "colour"),
    ],
)
def test_what_the_route_cannot_use_is_named(mongo_database: Mongo, query: str, status: int, field: str) -> None:
    found = asked(services(mongo_database), f"/v1/audit?{query}", status)
    assert field in found["detail"]


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/erasures"])
def test_the_scope_admin_is_needed(mongo_database: Mongo, path: str) -> None:
    asked(services(mongo_database, Caller("acme", frozenset({"personal:read"}))), path, 403)


def test_nothing_is_shown_that_cannot_be_put_on_record(mongo_database: Mongo) -> None:
    log = MemoryAuditLog()
    log.away = True
    world = Services(mongo_database, Access(Fixed(ADMIN), audit=Recorder(log, lambda: BEGIN)))
    asked(world, "/v1/audit", 503)


def test_erasures_are_listed_by_pages_with_their_state(mongo_database: Mongo) -> None:
    caller = Caller("default", frozenset({"admin"}), name="officer", key="bbbb2222")
    world = services(mongo_database, caller)
    names = [f"c{number}" for number in range(7)]
    world.store([upserted(name) for name in names])
    for number, name in enumerate(names[:5]):
        world.now = BEGIN + timedelta(hours=number)
        answer = world.call("DELETE", f"/v1/consumers/{name}?mode=delete", headers=KEY)
        assert answer.status_code == 202
    # Two more come through Kafka, one of them also over HTTP before.
    for number, name in ((4, "c4"), (5, "c5"), (6, "c6")):
        data = {"consumer_id": name, "mode": "delete"}
        time = (BEGIN + timedelta(hours=number)).isoformat()
        world.store([event("consumer.erased", f"gone-{name}", time, data)])
    other = event("consumer.erased", "x", BEGIN.isoformat(), {"consumer_id": "z", "mode": "delete"}, tenant="beta")
    world.store([other])
    found, cursor = list[Any](), ""
    while True:
        page = asked(world, f"/v1/erasures?limit=2{cursor}")
        found += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert [item["consumer_id"] for item in found] == names[::-1]
    assert [item["erasure"] for item in found] == [erasure_id("default", name) for name in names[::-1]]
    for item in found:
        state = asked(world, f"/v1/erasures/{item['erasure']}")
        missing = [step["name"] for step in state["steps"] if not step["done"]]
        assert (item["done"], item["waiting_for"]) == (state["done"], missing[0] if missing else None)
    asked(world, "/v1/erasures?cursor=nonsense", 400)


def test_the_command_lists_entries_and_puts_that_on_record(
    mongo_database: Mongo, servers: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITH_MONGO", servers.mongo)
    monkeypatch.delenv("KITH_KAFKA", raising=False)
    monkeypatch.setenv("KITH_DATABASE", mongo_database.name)
    entries = filled(mongo_database, 30)

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(kith, ["audit", "list", "--tenant", "acme", *arguments])
        assert result.exit_code == status, result.output + repr(result.exception)
        return result.stdout

    lines = [json.loads(line) for line in run("--action", "keys", "--json").splitlines()]
    assert lines == expected(entries, AuditFilter(action="keys"))
    rows = list(csv.DictReader(io.StringIO(run("--subject", "c1", "--csv", "--limit", "2"))))
    # That somebody looks for c1 is the latest about c1.
    assert rows[0]["action"] == "audit.read"
    assert int(rows[1]["sequence"]) == expected(entries, AuditFilter(subject="c1"))[0]["sequence"]
    table = run("--limit", "4")
    assert "audit.read" in table, "the two that have looked before are entries, too"
    assert max(map(len, table.splitlines())) <= 80
    assert "There are earlier entries" in table
    # Page by page as the table says, and nothing is lost though entries have the same time.
    pages: list[str] = []
    more: list[str] = []
    while True:
        page = run("--action", "keys", "--limit", "4", *more)
        pages += [line for line in page.splitlines() if "keys." in line]
        if "There are earlier entries" not in page:
            break
        more = page.rpartition(": add ")[2].partition(",")[0].split()
        assert more[0] == "--before"
    assert len(pages) == len(expected(entries, AuditFilter(action="keys"))) > 4
    assert run("--caller", "nobody") == "No entry of the tenant acme matches.\n"
    run("--from", "soon", status=2)
    run("--from", "2026-11-02", "--to", "2026-11-01", status=2)
    result = CliRunner().invoke(kith, ["audit", "list", "--tenant", "No Such"])
    assert result.exit_code == 2
    assert entries_table(INSTALLATION, [], False, 80) == ["No entry of the installation matches."]
