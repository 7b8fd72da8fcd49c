"""Every collection has decided whether a consumer's copy of their data holds what it has about them."""

import re

from services.cli.privileges import mongo_roles
from services.privacy.answers import Export
from services.privacy.held import HELD, Exported
from tests.support.paths import ROOT


def test_no_collection_is_without_a_decision() -> None:
    """Least privileges name every collection that any service uses."""
    named = {
        each["resource"]["collection"].partition("@")[0]
        for privileges in mongo_roles("kith").values()
        for each in privileges
    }
    assert named - {""} == HELD.keys(), (
        "say in services/privacy/held.py where the export of a consumer has what a collection holds of them, or "
        "why it has not"
    )


def test_every_collection_is_a_stored_document() -> None:
    page = (ROOT / "docs/reference/stored-documents.md").read_text()
    table = page.partition("| Collection |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(HELD), "docs/reference/stored-documents.md"


def test_what_is_exported_is_in_the_export() -> None:
    members = {decision.member for decision in HELD.values() if isinstance(decision, Exported)}
    assert members == Export.model_fields.keys() - {"masked", "mask"}
