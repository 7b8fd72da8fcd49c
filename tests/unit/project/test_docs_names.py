"""Commands, options, variables, topics and routes of the documents exist, and all that exist are named."""

import re
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import typer

from services.bench.__main__ import parser
from services.cli.__main__ import app as kith
from services.cli.settings import ELSEWHERE
from shared.contracts.services import CORE, SERVICES
from shared.contracts.topics import INPUTS, OUTPUTS, WRAPPED_KEYS
from shared.settings import Settings
from tests.support.builders import OPEN, TOPICS
from tests.support.documents import DOCUMENTS, PAGES, SITE, code, each_document, of, requests, spans
from tests.support.paths import ROOT
from tests.support.routes import bare

PORTS = {spec.port: name for name, spec in SERVICES.items()}


def commands() -> dict[str, set[str]]:
    """Every command, as in ``kith topics create``, and its options."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, name: str) -> None:
        found[name] = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word, child in getattr(command, "commands", {}).items():
            walk(child, f"{name} {word}")

    walk(typer.main.get_command(kith), "kith")
    return found


@each_document
def test_commands_and_their_options_exist(document: Path) -> None:
    known = commands()
    for line in code(document):
        if found := re.search(r"^(?:docker-compose .* )?(kith(?: .*)?)$", line):
            words = found[1].partition("#")[0].split()
            plain = list(takewhile(re.compile("[a-z][a-z-]*").fullmatch, words))
            # What follows the command's own words may be a plain word, too: an argument.
            names = [" ".join(plain[:length]) for length in (4, 3, 2, 1)]
            command = next(name for name in names if name in known)
            group = any(name.startswith(f"{command} ") for name in known)
            assert not group or words == command.split(), line
            assert {word for word in words if word.startswith("--")} <= known[command], line


def test_every_command_is_in_a_document() -> None:
    known = commands()
    groups = {name for name in known if any(other.startswith(f"{name} ") for other in known)}
    assert set(known) - groups <= {span for document in DOCUMENTS for span in spans(document)}


#: Of mongod and of docker-compose.
OTHERS = {"--auth", "--build", "--profile", "--scale"}


@each_document
def test_options_that_stand_alone_exist(document: Path) -> None:
    known = commands()
    named = {word for span in spans(document) for word in re.findall(r"(?<!\S)(--[a-z-]+)", span)}
    bench = {option for action in parser()._actions for option in action.option_strings}
    assert named <= set().union(*known.values()) | bench | OTHERS


@each_document
def test_variables_are_settings(document: Path) -> None:
    known = {f"KITH_{name.upper()}" for name in Settings.model_fields} | set(ELSEWHERE)
    for conftest in ("tests/conftest.py", "tests/fault/conftest.py"):
        known |= set(re.findall(r"KITH_\w+", (ROOT / conftest).read_text()))
    for compose in ("docker-compose.yml", "deploy/compose.production.yml"):
        known |= set(re.findall(r"\$\{(KITH_\w+)", (ROOT / compose).read_text()))
    named = set(re.findall(r"KITH_[A-Z_]*[A-Z]", document.read_text())) - {"KITH_KEY", "KITH_AUTH"}
    assert named <= known


def test_the_scraper_asks_every_service_of_the_core() -> None:
    """Of one that is not scraped, absent() fires."""
    [scrape] = of(SITE / "how-to/access.md", "yaml")
    assert sorted(map(int, re.findall(r"127\.0\.0\.1:(\d+)", scrape))) == [spec.port for spec in CORE.values()]


def test_the_pages_name_many_of_each() -> None:
    """So that what is checked above is found at all."""
    found = {span for page in PAGES for span in spans(page)}
    assert len({span for span in found if span.startswith("kith ")}) > 30
    assert len({span for span in found if span.startswith("KITH_")}) > 30
    assert len({span for span in found if span.startswith("--")}) > 10


@each_document
def test_topics_are_topics(document: Path) -> None:
    named = {span for span in spans(document) if re.fullmatch(r"kith\.[a-z-]+", span)}
    assert named <= {TOPICS.name(short) for short in (*INPUTS, *OUTPUTS, WRAPPED_KEYS)}


def openapi() -> dict[str, dict[str, Any]]:
    return {service: app.openapi() for service, app in bare(OPEN).items()}


def test_routes_exist_and_all_are_named() -> None:
    paths = {(m.upper(), path) for d in openapi().values() for path, item in d["paths"].items() for m in item}
    text = "".join(document.read_text() for document in DOCUMENTS)
    named = {(m[1], m[2]) for m in re.finditer(r"`(GET|POST|PUT|DELETE|PATCH) (/[^\s?`]+)", text)}
    assert named - {("GET", "/openapi.json"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/problems")} == paths


def test_what_is_asked_can_be_asked() -> None:
    documents = openapi()
    asked = [request for document in DOCUMENTS for request in requests(document)]
    assert len(asked) > 15
    for method, url, headers, body in asked:
        parts = urlsplit(url)
        paths = documents[PORTS[parts.port or 0]]["paths"]
        (route,) = (p for p in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), parts.path))
        known = {parameter["name"] for parameter in paths[route][method.lower()].get("parameters", ())}
        assert {name for name, _ in parse_qsl(parts.query)} <= known, url
        if body is not None:
            # curl sends a form, unless it is told otherwise.
            kind = dict(headers).get(b"content-type", b"application/x-www-form-urlencoded").decode()
            assert kind in paths[route][method.lower()]["requestBody"]["content"], url


def test_the_page_of_errors_has_every_reason() -> None:
    page = (SITE / "reference/errors.md").read_text().partition("## Events that are not accepted")[2]
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    modules = [path for top in ("services", "shared") for path in (ROOT / top).rglob("*.py")]
    found = re.compile(r'(?:InvalidEvent|_Fault)\(\s*"([a-z_]+)"')
    raised = {reason for path in modules for reason in found.findall(path.read_text())}
    assert len(raised) > 10
    assert named == raised
