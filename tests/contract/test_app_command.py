"""`kith app …` over the apps service and a real MongoDB."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from services.apps.api import create_app
from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.registry import Registry
from services.apps.signing import Signer
from services.cli.app import app_app
from shared.access.apps.compliance import erased, receipt
from shared.access.apps.mongo import MongoApps
from shared.access.apps.notices import MongoReceipts
from shared.access.apps.schema import COLLECTIONS, NOTICES, RECEIPTS, TELLING
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from tests.conftest import Addresses
from tests.support.builders import OPEN
from tests.support.serving import serving

Run = Callable[..., Result]


@pytest.fixture
def kith(servers: Addresses, mongo_database: Database[Document], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command; ``given`` is what is typed."""
    prepare(mongo_database, {**COLLECTIONS, **TELLING})
    registry = Registry(MongoApps(mongo_database), lambda: datetime.now(UTC))
    signer = Signer(MongoKeyPairs(mongo_database), None, "http://kith", lambda: datetime.now(UTC))
    figures, receipts = Figures(mongo_database, str), MongoReceipts(mongo_database)
    app = create_app(registry, signer, figures, receipts, list, access=OPEN)
    monkeypatch.setenv("KITH_MONGO", servers.mongo)
    monkeypatch.setenv("KITH_DATABASE", mongo_database.name)
    # Long texts are wrapped at the width of the terminal.
    monkeypatch.setenv("COLUMNS", "200")

    with serving(app) as address:

        def run(*arguments: str, given: str = "", service: bool = True) -> Result:
            more = ["--service", address] if service else []
            return CliRunner().invoke(app_app, [*arguments, *more], input=given)

        yield run


def answer(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def made(kith: Run) -> dict[str, Any]:
    scopes = ("--scope", "relations:read", "--scope", "webhooks:manage")
    found: dict[str, Any] = answer(kith("register", "Bonus", *scopes, "--contact", "ann@bonus.example", "--json"))
    return found


def test_an_application_from_its_registration_to_its_end(
    kith: Run, made: dict[str, Any], mongo_database: Database[Document]
) -> None:
    id = made["client_id"]
    assert made["client_secret"].startswith("kiths_")
    listed = kith("list", "--state", "pending")
    assert (id in listed.stdout, "(relations:read)" in listed.stdout) == (True, True), "only requested"
    limits = ("--requests", "5/second", "--events-a-day", "7", "--endpoints", "2", "--webhooks", "9/second")
    granted = answer(kith("approve", id, "--scope", "relations:read", *limits, "--mask", "amount", "--json"))
    assert (granted["granted"], granted["masks"]) == (["relations:read"], ["amount"])
    wanted = {"requests": "5/second", "events_a_day": 7, "endpoints": 2, "webhooks": "9/second"}
    assert granted["limits"] == wanted
    shown = answer(kith("show", id, "--json"))
    assert (shown["state"], shown["limits"], shown["consented"]) == ("approved", wanted, 0)
    assert kith("suspend", id, "--reason", "it asked too often").exit_code == 0
    assert answer(kith("show", id, "--json"))["reason"] == "it asked too often"
    assert answer(kith("list", "--state", "approved", "--json"))["items"] == []
    assert kith("delete", id).exit_code == 0
    gone = kith("show", id)
    assert (gone.exit_code != 0, "there is no application" in str(gone.exception)) == (True, True)
    assert [each["topic"] for each in mongo_database[NOTICES].find()] == ["app.uninstalled"]


@pytest.mark.parametrize(("typed", "state"), [("y\n", "approved"), ("n\n", "pending"), ("", "pending")])
def test_what_is_approved_was_shown_and_agreed_to(kith: Run, made: dict[str, Any], typed: str, state: str) -> None:
    done = kith("approve", made["client_id"], given=typed)
    assert "Bonus requests: relations:read webhooks:manage" in done.stderr
    assert (done.exit_code == 0) == (state == "approved")
    found = answer(kith("show", made["client_id"], "--json"))
    assert (found["state"], len(found["granted"])) == (state, 2 if state == "approved" else 0)
    # By the revision that was shown before, nobody is asked; one that has passed is refused.
    before = kith("approve", made["client_id"], "--revision", str(made["revision"]))
    assert (before.exit_code == 0) == (state == "pending")


def test_a_secret_is_added_and_removed(kith: Run, made: dict[str, Any]) -> None:
    id, old = made["client_id"], made["client_secret"].split("_")[1]
    added = answer(kith("secret", "add", id, "--days", "3", "--overlap-hours", "1", "--json"))
    assert added["client_secret"].startswith(f"kiths_{added['secret']}_")
    third = kith("secret", "add", id)
    assert (third.exit_code != 0, "2 valid secrets" in str(third.exception)) == (True, True)
    assert kith("secret", "remove", id, old).exit_code == 0
    valid = [each["secret"] for each in answer(kith("show", id, "--json"))["secrets"] if each["valid"]]
    assert valid == [added["secret"]]
    assert kith("secret", "remove", id, old).exit_code != 0, "it has ended"


def test_receipts_are_listed_with_why_they_wait_and_filtered(
    kith: Run, made: dict[str, Any], mongo_database: Database[Document]
) -> None:
    id = made["client_id"]
    assert "told of nothing" in kith("receipts", id).stdout
    for number, state in enumerate(("waiting", "delivered")):
        notice = erased("default", f"c{number}", [id], datetime(2026, 11, 29, number, tzinfo=UTC))
        ended = {"settled": datetime(2026, 11, 30, tzinfo=UTC)} if state == "delivered" else {}
        mongo_database[RECEIPTS].insert_one({**receipt(notice, id), "state": state, **ended})
    lines = kith("receipts", id).stdout.splitlines()
    assert [line.split()[2:4] for line in lines] == [["c1", "delivered"], ["c0", "waiting:"]]
    assert "2026-11-30T00:00:00Z" in lines[0]
    [one] = answer(kith("receipts", id, "--state", "waiting", "--json"))["items"]
    assert (one["consumer_id"], one["topic"]) == ("c0", "consumer.erased")


def test_the_key_that_signs_is_replaced_at_once_or_when_its_tokens_have_ended(
    kith: Run, made: dict[str, Any], mongo_database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    registry = Registry(MongoApps(mongo_database), lambda: datetime.now(UTC))
    app = registry.find("default", made["client_id"])
    assert app is not None
    pairs = MongoKeyPairs(mongo_database)

    def sign() -> str:
        Signer(pairs, None, "http://kith", lambda: datetime.now(UTC)).token(app, app.secrets[0], [], "j")
        return next(key.kid for key in pairs.public() if key.until is None)

    first = sign()
    done = kith("rotate-key", service=False)
    assert (done.exit_code, "1 keys end when their last token has" in done.stdout) == (0, True), done.output
    [old] = pairs.public()
    assert old.until is not None
    assert old.until > datetime.now(UTC)
    assert sign() != first
    assert kith("rotate-key", "--now", service=False).exit_code == 0
    assert all(key.until is not None and key.until <= datetime.now(UTC) for key in pairs.public())
