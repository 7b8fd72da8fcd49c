"""Two Unicode spellings of one value: ids, keys of maps and of lists, and names of columns."""

from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

import pytest

from services.importer.mapping import MappingError
from tests.support.importer import Recorder, imported

MAPPING = """
[[source]]
path = "{file}"
type = "relation.recorded"
source = "desk"
time = {{ const = "2025-05-01T10:00:00Z" }}
fields.consumer_id = "who"
fields.provider_id = "where"
fields.kind = {{ column = "what", map = {{ "caf\u00e9" = "view" }} }}
fields.traits.city = "city"
fields.traits.tags = {{ collect = "tags" }}
[source.collect.tags]
path = "tags.csv"
key = "where"
value = "tag"
on = "where"
"""
ROWS = "who,where,what,city\njos\u00e9,ren\u00e9,caf\u00e9,\u00c5land\njos\u00e9,ren\u00e9,caf\u00e9,\u00c5land\n"


Form = Literal["NFC", "NFD"]


def run(folder: Path, form: Form, tags: Form) -> tuple[list[dict[str, Any]], list[str]]:
    # The file's name is part of the ids; some systems give it back decomposed.
    name = normalize(form, "visites-\u00e9t\u00e9.csv")
    (folder / name).write_text(normalize(form, ROWS), encoding="utf-8")
    table = normalize(tags, "where,tag\nren\u00e9,quiet\n")
    (folder / "tags.csv").write_text(table, encoding="utf-8")
    mapping = folder / "m.toml"
    mapping.write_text(MAPPING.format(file=name), encoding="utf-8")
    report = imported(mapping, recorder := Recorder())
    assert (report.read, report.accepted) == (2, 2)
    return recorder.events(), report.sources[0].notes


def test_a_file_in_either_form_makes_the_same_events(tmp_path: Path) -> None:
    forms: list[tuple[Form, Form]] = [("NFC", "NFC"), ("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")]
    found = {}
    for form, tags in forms:
        folder = tmp_path / f"{form}-{tags}"
        folder.mkdir()
        events, notes = run(folder, form, tags)
        found[form, tags] = [(one["id"], one["data"]["relation_id"], one["data"]["kind"]) for one in events]
        assert all(one["data"]["traits"]["tags"] == ["quiet"] for one in events)
        assert [note.startswith("2 rows without an id") for note in notes] == [True] * (form == "NFD")
    assert len({str(each) for each in found.values()}) == 1
    assert len(set(found["NFC", "NFC"])) == 2, "equal rows are two facts"


def test_a_column_in_another_form_is_named_as_such(tmp_path: Path) -> None:
    mapping = MAPPING.replace('"city"', '"cit\u00e9"')
    (tmp_path / "v.csv").write_text("who,where,what,cite\u0301\n", encoding="utf-8")
    (tmp_path / "tags.csv").write_text("where,tag\n", encoding="utf-8")
    (tmp_path / "m.toml").write_text(mapping.format(file="v.csv"), encoding="utf-8")
    with pytest.raises(MappingError, match="another Unicode form"):
        imported(tmp_path / "m.toml", Recorder())


def test_an_id_with_a_character_that_nobody_sees_rejects_its_row(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text(ROWS.replace("jos\u00e9", "a\u3164b", 1), encoding="utf-8")
    (tmp_path / "tags.csv").write_text("where,tag\n", encoding="utf-8")
    mapping = tmp_path / "m.toml"
    mapping.write_text(MAPPING.format(file="visits.csv"), encoding="utf-8")
    report = imported(mapping, recorder := Recorder())
    assert (report.read, report.accepted, len(recorder.events())) == (2, 1, 1)


@pytest.mark.parametrize("stated", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_missing_value_is_missing_in_either_form(tmp_path: Path, stated: Form, written: Form) -> None:
    none = "non sp\u00e9cifi\u00e9"
    text = f"""
[defaults]
missing = ["{none}"]
[[source]]
path = "v.csv"
type = "relation.recorded"
time = 2025-05-01T10:00:00Z
fields.consumer_id = "who"
fields.provider_id = "where"
fields.kind = {{ const = "view" }}
fields.traits.own = {{ column = "city", missing = ["{none}"] }}
fields.traits.there = {{ const = true, when = "city" }}
fields.traits.made = {{ template = "in {{city}}" }}
fields.traits.tags = {{ collect = "tags" }}
[source.collect.tags]
path = "tags.csv"
key = "where"
value = "tag"
"""
    (tmp_path / "m.toml").write_text(normalize(stated, text), encoding="utf-8")
    rows = f"who,where,city\n{none},p,x\nc,p,{none}\n"
    (tmp_path / "v.csv").write_text(normalize(written, rows), encoding="utf-8")
    (tmp_path / "tags.csv").write_text(normalize(written, f"where,tag\np,{none}\n"), encoding="utf-8")
    report = imported(tmp_path / "m.toml", recorder := Recorder())
    assert (report.read, report.accepted) == (2, 1)
    assert "traits" not in recorder.events()[0]["data"]
