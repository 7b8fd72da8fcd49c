"""The table of services and what cannot follow from it: each place that names the services names all of them."""

import importlib
import re
import tomllib

import pytest

from services.cli.privileges import BACKUP, OPERATOR, kafka_acls, mongo_roles
from services.cli.rebuild import rebuild_app
from services.rebuild.context import NAMES, projection_of
from shared.access.guard import Access
from shared.contracts.services import CONNECTORS, CORE, PROJECTIONS, SERVICES
from shared.contracts.topic_names import INPUTS, LEDGER, OUTPUTS
from shared.contracts.topics import Topics
from shared.mongo.restores import RESTORES
from shared.settings import Settings
from shared.vault.schema import DATA_KEYS
from shared.versions.generations import collection_of, own_collections
from tests.support import routes
from tests.support.paths import ROOT

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
#: Folders of services/ that are no process type of their own: the command, what it brings, and what measures it.
OTHER = {"cli", "bench", "demo", "importer", "rebuild", "explain", "backup"}

each_service = pytest.mark.parametrize("name", SERVICES)


def test_the_table_has_every_service_that_has_a_folder() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    assert folders - OTHER == set(SERVICES), "a folder in services/ and a row in shared/contracts/services.py"


@each_service
def test_a_service_has_the_files_that_every_service_has(name: str) -> None:
    folder = ROOT / "services" / name
    wanted = {
        "__init__.py",
        "__main__.py",
        "api.py",
        *({"projection.py", "schema.py"} if name in PROJECTIONS else ()),
    }
    assert wanted - {path.name for path in folder.iterdir()} == set(), folder
    assert importlib.util.find_spec(f"services.{name}.__main__") is not None


@each_service
def test_a_service_has_a_setting_for_its_port(name: str) -> None:
    field = Settings.model_fields.get(f"{name}_port")
    assert field is not None, f"shared/settings.py: {name}_port"
    assert field.default == SERVICES[name].port


@pytest.mark.parametrize("name", CONNECTORS)
def test_a_connector_has_a_setting_for_its_outside_system_an_extra_and_a_server_of_its_own(name: str) -> None:
    needs = CONNECTORS[name].needs
    assert needs in Settings.model_fields, f"shared/settings.py: {needs}"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert name in extras, "pyproject.toml: optional-dependencies"
    assert importlib.util.find_spec(f"shared.local.{name}") is not None, f"shared/local/{name}.py: server()"


def test_no_two_services_share_a_port() -> None:
    ports = [spec.port for spec in SERVICES.values()]
    assert len(set(ports)) == len(ports)


@each_service
def test_a_service_has_a_role_in_mongodb_and_acls_in_kafka(name: str) -> None:
    assert name in mongo_roles("kith"), "services/cli/privileges.py: mongo_roles"
    assert name in kafka_acls(Topics(), "kith")


@each_service
def test_a_service_with_the_gate_of_erasures_may_read_what_that_compares(name: str) -> None:
    if "erasure_gate(" in (ROOT / f"services/{name}/__main__.py").read_text():
        granted = {each["resource"]["collection"]: each["actions"] for each in mongo_roles("kith")[name]}
        for collection in (DATA_KEYS, RESTORES, "consumers", "relations", "erased"):
            assert "find" in granted.get(collection, ()), f"services/cli/privileges.py: {name}, {collection}"


def test_nobody_else_has_a_role() -> None:
    assert set(mongo_roles("kith")) == set(kafka_acls(Topics(), "kith")) == {*SERVICES, OPERATOR, BACKUP}


@each_service
def test_a_service_stands_in_the_import_contract(name: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["id"] == "services"]
    assert any(name in layer.split(" | ") for layer in layers), "pyproject.toml: the contract `services`"


@each_service
def test_the_routes_of_a_service_are_walked(name: str) -> None:
    assert name in routes.bare(Access()), "tests/support/routes.py: bare"


@each_service
def test_a_service_uses_topics_that_there_are(name: str) -> None:
    spec = SERVICES[name]
    assert {*spec.writes, *spec.folds, *spec.reads, *spec.describes} <= {*INPUTS, *OUTPUTS}


def test_every_projection_with_a_help_for_it_can_be_rebuilt_and_no_other() -> None:
    assert set(NAMES) == {name for name, spec in PROJECTIONS.items() if spec.rebuilds}, "services/rebuild/names.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_projection_folds_the_topics_of_the_table_into_its_collections(name: str) -> None:
    projection, collections = projection_of(Settings(encryption="off"), name)  # type: ignore[arg-type]
    spec, topics = PROJECTIONS[name], Topics()
    assert projection.name == name
    assert projection.topics == tuple(topics.name(short) for short in spec.folds)
    assert set(spec.documents) <= set(collections)


@pytest.mark.parametrize("name", NAMES)
def test_a_projection_has_a_command_that_rebuilds_it(name: str) -> None:
    assert name in {command.name for command in rebuild_app.registered_commands}, "services/cli/rebuild.py"


@pytest.mark.parametrize("name", NAMES)
def test_an_operator_may_rebuild_a_projection(name: str) -> None:
    _, collections = projection_of(Settings(encryption="off"), name)  # type: ignore[arg-type]
    granted = {each["resource"]["collection"] for each in mongo_roles("kith")[OPERATOR]}
    assert {collection_of(each, 2) for each in own_collections(collections)} <= granted, (
        "services/cli/privileges.py"
    )


@each_service
def test_a_service_that_shows_data_waits_for_the_ledger(name: str) -> None:
    """A restored database may hold consumers who are erased: nothing is answered before they are gone."""
    if name == "ingest":
        return  # it shows nothing, and asks the ledger for each event
    root = (ROOT / "services" / name / "__main__.py").read_text()
    assert re.search(r"service\.serve\([^)]*gate=gate", root), f"services/{name}/__main__.py: serve(gate=…)"
    assert LEDGER in SERVICES[name].reads, f"shared/contracts/services.py: {name} reads the ledger"


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_projection_has_laws(name: str) -> None:
    assert (ROOT / "tests/unit" / name / "test_laws.py").is_file(), f"tests/unit/{name}/test_laws.py"


@each_service
def test_a_service_has_alerts(name: str) -> None:
    assert (ROOT / "services" / name / "alerts.yml").is_file(), f"services/{name}/alerts.yml"


@pytest.mark.parametrize("page", ["why/flow.md", "how-to/least-rights.md", "how-to/upgrade.md"])
def test_a_page_names_every_service(page: str) -> None:
    text = (ROOT / "docs" / page).read_text().lower()
    assert [name for name in SERVICES if name not in text] == [], f"docs/{page}"


def test_the_least_rights_of_each_user_are_stated_once() -> None:
    rows = re.findall(r"^\| (\w+) \|", (ROOT / "docs/how-to/least-rights.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(["service", *SERVICES, OPERATOR, BACKUP])


@each_service
def test_a_service_has_its_page_of_the_api(name: str) -> None:
    assert (ROOT / "docs/reference/api" / f"{name}.md").is_file(), f"docs/reference/api/{name}.md"


def test_what_is_stored_is_documented() -> None:
    text = (ROOT / "docs/reference/stored-documents.md").read_text()
    names = {each for spec in PROJECTIONS.values() for each in spec.documents}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_a_list_of_ports_has_all_of_them() -> None:
    told = re.findall(r"^\| (`KITH_HOST`.*?) \|", (ROOT / "docs/reference/settings.md").read_text(), re.MULTILINE)
    assert [re.findall(r"KITH_(\w+)_PORT", each) for each in told] == [[name.upper() for name in CORE]]
    compose = (ROOT / "docker-compose.yml").read_text()
    head = "".join(re.findall(r"^#.*\n", compose.partition("x-kith:")[0], re.MULTILINE))
    named = set(re.findall(r"\b(\w+_PORT)\b", head))
    assert named == set(re.findall(r"127\.0\.0\.1:\$\{(\w+_PORT):-", compose))


def test_ports_and_numbers_of_services_in_documents_are_those_of_the_table() -> None:
    # Those that run everywhere, or all of them.
    ports = [spec.port for spec in SERVICES.values()]
    last = {max(ports), max(spec.port for spec in CORE.values())}
    count = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"][len(CORE)]
    for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "docker-compose.yml"):
        text = path.read_text()
        assert {int(each) for each in re.findall(rf"\b{min(ports)} to (\d+)", text)} <= last, path
        assert set(re.findall(r"\bthe (\w+) services\b", text)) & set(NUMBERS) <= {count}, path
