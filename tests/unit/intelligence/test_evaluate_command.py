"""`kith evaluate` and `kith learn` on files."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.evaluate_files import read_profiles, read_relations
from services.intelligence.evaluation.relations import Relations
from shared.contracts.errors import ConfigurationError
from tests.unit.intelligence.test_evaluation import market

run = CliRunner().invoke


def relations_file(folder: Path) -> Path:
    lines = ["provider,consumer,kind,time,rating"]
    lines += [
        f"{row.provider_id},{row.consumer_id},{row.kind},{row.time:%Y-%m-%dT%H:%M:%SZ},5" for row in market()
    ]
    file = folder / "relations.csv"
    file.write_text("\ufeff" + "\n".join(lines) + "\n")
    return file


def test_a_file_is_evaluated(tmp_path: Path) -> None:
    file = relations_file(tmp_path)
    assert read_relations(file).digest() == Relations.of(market()).digest()
    result = run(app, ["evaluate", str(file)])
    assert result.exit_code == 0, result.output
    for word in ("leave-last-out: 40 consumers", "one-day", "popularity", "cosine", "walk", "learned", "NDCG@10"):
        assert word in result.stdout
    result = run(app, ["evaluate", str(file), "--json"])
    report = json.loads(result.stdout)
    assert [section["split"] for section in report["sections"]] == ["leave-last-out", "one-day"]
    assert 0 < report["sections"][0]["lines"][0]["summary"]["ndcg"] < 1


def test_a_model_is_learned_from_files(tmp_path: Path) -> None:
    file, out = relations_file(tmp_path), tmp_path / "model.json"
    places = tmp_path / "profiles.csv"
    places.write_text(
        "side,id,latitude,longitude,categories\n"
        + "".join(f"provider,p{number:02d},48.{number},11.5,bar|cafe\n" for number in range(25))
        + "consumer,c01,48.2,11.4,\n"
    )
    result = run(app, ["learn", str(file), "--profiles", str(places), "--out", str(out)])
    assert result.exit_code == 3, result.output  # the market is one of chance
    assert "does not beat the walk by more than chance" in result.stdout
    model = json.loads(out.read_text())["model"]
    assert model["digest"] == Relations.of(market()).digest()
    assert "usual_way" in model["features"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column consumer and no column provider"),
        ("consumer,shop\na,b\n", "has no column provider"),
        ("consumer,provider\n", "has no row below its header"),
        ("consumer,provider\na,b\n,b\n", "line 3: consumer is empty"),
        ("consumer,provider\na,b\na\n", "line 2 may go on in line 3, which is no row of its own"),
        ("consumer,provider,kind\na,b,c\na,bc\n", "line 3 has 2 columns instead of 3: its last cell or a delim"),
        ("consumer,provider\na,b,c\n", "line 2 has 3 columns instead of 2"),
        ("consumer,provider,time\na,b,yesterday\n", "line 2: time must be a day such as"),
        ("consumer,provider,time\na,b,\na,c,2026-01-01\n", "1 of 2 relations have no time"),
        ("consumer,provider,time\na,b,0001-01-01T00:00:00+10:00\n", "line 2: time must be a day"),
        # A stray mark joins no rows, wherever it ends, or does not.
        ('consumer,provider\na,"x\nb,y\nc,z\n', "line 2 is in a cell whose quotation mark, in line 2, never ends"),
        ('consumer,provider\na,"x\nb,y"\nc,z\n', "line 2 looks like a row in a quoted cell"),
        ('consumer,provider\na,x"\n', "line 2 has a quotation mark in a cell that does not begin with one"),
        ('consumer,provider\na,"x"y\n', "line 2 has text behind a quotation mark"),
        ('"consumer,provider\na,b\n', "line 1, the header, is in a cell whose quotation mark"),
        ("consumer,provider,consumer\na,b,c\n", "has two columns consumer"),
        ("consumer,provider,time,time\na,b,,\n", "has two columns time"),
        ("consumer,provider\na,4.91701E+11\n", "line 2: provider is a number that a spreadsheet has shortened"),
        ("consumer,provider\n1234.0,b\n", "line 2: consumer is a whole number written with decimals"),
    ],
)
def test_a_bad_file_of_relations_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_relations(file)


@pytest.mark.parametrize(
    "time",
    [
        *("20260302", "2026-W10-1", "2026-061", "2026-03", "2026-02-30", "1772445600", "٢٠٢٦-٠٣-٠٢"),
        *("20260302T100000Z", "2026-03-02T25:00:00", "02.03.2026 10:00", "2026-03-02T10Z"),
    ],
)
def test_only_the_documented_forms_are_times(tmp_path: Path, time: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"consumer,provider,time\na,b,2026-03-02\na,c,{time}\n")
    with pytest.raises(ConfigurationError, match="line 3: time must be a day such as"):
        read_relations(file)


def test_times_as_pandas_writes_them_are_read(tmp_path: Path) -> None:
    """UTC, where they have no offset."""
    file, seconds = tmp_path / "relations.csv", datetime(2026, 3, 2, 9, 30, tzinfo=UTC).timestamp()
    times = ["2026-03-02 09:30:00", "2026-03-02T09:30:00", "2026-03-02 10:30:00+01:00", "2026-03-02T09:30:00Z"]
    file.write_text("consumer,provider,time\n" + "".join(f"a,p{n},{time}\n" for n, time in enumerate(times)))
    assert read_relations(file).times.tolist() == [int(seconds * 1e6)] * 4


@pytest.mark.parametrize("first", ["", "sep=,\n", '"sep=;"\n', "\ufeffsep=;\r\n"])
def test_a_file_that_programs_write_for_excel_is_read_as_by_an_import(tmp_path: Path, first: str) -> None:
    file, delimiter = tmp_path / "relations.csv", ";" if ";" in first else ","
    rows = [["consumer", '="provider"', "rating", "rating"], ['="00123"', '"=""007"""', "5", "4"]]
    file.write_text(first + "".join(delimiter.join(row) + "\n" for row in rows), encoding="utf-8")
    found = read_relations(file)
    assert (found.consumer_ids, found.provider_ids) == (("00123",), ("007",))
    file.write_text(first + f"consumer{delimiter}provider\na\n")
    with pytest.raises(ConfigurationError, match=f"line {2 + bool(first)} "):
        read_relations(file)


def test_spellings_of_an_id_are_one_id(tmp_path: Path) -> None:
    spelled = ["caf\u00e9", "cafe\u0301"]
    file = tmp_path / "relations.csv"
    rows = [f"{consumer},{provider}" for consumer in spelled for provider in spelled]
    file.write_text("\n".join(["consumer,provider", *rows]) + "\n")
    found = read_relations(file)
    assert (found.consumer_ids, found.provider_ids, len(found)) == (("caf\u00e9",), ("caf\u00e9",), 4)
    file.write_text("side,id,categories\n" + "".join(f"provider,{id},bar\n" for id in spelled))
    with pytest.raises(ConfigurationError, match=r"line 3: the provider has a row already \(.*line 2\)"):
        read_profiles(file)


@pytest.mark.parametrize(
    ("last", "kinds"),
    [("", ("relation",)), (",", ("relation",)), (",visit", ("visit",)), (",visit,,", ("visit",))],
)
def test_files_of_spreadsheets_are_read(tmp_path: Path, last: str, kinds: tuple[str, ...]) -> None:
    """Without empty last cells, or with more of them, and with line breaks in cells that nothing reads."""
    file = tmp_path / "relations.csv"
    rows = ["consumer,provider,note,kind", 'a,b,"one\r\ntwo"' + last, 'c,"d, ""e""",x' + last, "f,g,x" + last, ""]
    file.write_bytes("\r\n".join(rows).encode())
    found = read_relations(file)
    assert found.consumer_ids == ("a", "c", "f")
    assert found.provider_ids == ("b", 'd, "e"', "g")
    assert found.kind_names == kinds


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("shop,a,1,2,", "side is 'shop'"),
        ("provider,a,1,,", "must both be numbers"),
        ("provider,a,91,2,", "latitude must be from"),
        ("provider,a,nan,2,", "must both be numbers"),
        ("provider,a,1_0,2,", "must both be numbers"),
        ("consumer,a,1,2,bar", "a consumer has no categories"),
    ],
)
def test_a_bad_file_of_profiles_says_where(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"side,id,latitude,longitude,categories\n{row}\n")
    with pytest.raises(ConfigurationError, match=f"line 2: .*{said}"):
        read_profiles(file)


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_relations(tmp_path / "none.csv")
    (tmp_path / "latin").write_bytes(b"consumer,provider\n\xff,b\n")
    with pytest.raises(ConfigurationError, match="line 2 is not CSV in UTF-8"):
        read_relations(tmp_path / "latin")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either a file of relations or --tenant"),
        (["a.csv", "--tenant", "acme"], "give either a file of relations or --tenant"),
        (["a.csv", "--purpose", "advice"], "--purpose needs --tenant"),
        (["--tenant", "acme", "--profiles", "p.csv"], "--profiles needs a file"),
    ],
)
def test_options_that_do_not_go_together_are_rejected(arguments: list[str], said: str) -> None:
    for command in ("evaluate", "learn"):
        result = run(app, [command, *arguments])
        assert isinstance(result.exception, ConfigurationError)
        assert said in str(result.exception)
