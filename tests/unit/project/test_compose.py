"""The images and docker-compose.yml name what exists, and prepared servers stay as they are. Without Docker."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pymongo import MongoClient

from services.cli.__main__ import app
from services.cli.setup import initiate, setup
from services.exports.measures import MeasureServices
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.limits import MAX_BODY_BYTES
from shared.contracts.services import CONNECTORS, CORE, EVERYWHERE, SERVICES
from shared.http.problems.lookup import of_uri
from shared.local.mongo import REPLICA_SET, MongoServer
from shared.local.processes import free_ports
from shared.mongo.limits import STREAM_MS
from shared.runtime.deadline import STOP_SECONDS
from shared.settings import SECRETS, Settings
from tests.support.paths import ROOT
from tools.pins.wanted import IMAGES

DOCKERFILE = (ROOT / "Dockerfile").read_text()
GATEWAY = (ROOT / "deploy/gateway/nginx.conf").read_text()
PROBLEMS = (ROOT / "deploy/gateway/problems.conf").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
KITH = [name for name, container in CONTAINERS.items() if container["image"] == "kith"]
#: What the profile `watch` adds, which nobody else starts.
WATCH = {"watch-key", "prometheus", "grafana"}
COMMANDS = set(typer.main.get_command(app).list_commands(None))  # type: ignore[attr-defined]


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def stages() -> list[str]:
    return [arguments.split(" AS ")[1] for name, arguments in instructions() if name == "FROM"]


def substituted(text: str) -> str:
    """With the defaults, as in ${NAME:-default}."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def port_of(service: str) -> int:
    port = Settings.model_fields[f"{service}_port"].default
    assert isinstance(port, int)
    return port


def test_one_dockerfile_builds_what_is_not_pulled() -> None:
    assert stages()[-1] == "kith"  # what a build without a target makes
    for name, container in CONTAINERS.items():
        if "build" in container:
            assert container["build"]["target"] in stages(), name
        elif name not in WATCH:
            assert substituted(container["image"]) in IMAGES.values(), name


def test_what_is_copied_exists_and_is_let_through() -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")]
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from"):
            for source in shlex.split(arguments)[:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in let_through), source


def test_what_the_build_of_the_package_needs_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {"pyproject.toml", "uv.lock", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {
        source
        for name, arguments in instructions()
        if name == "COPY" and not arguments.startswith("--from")
        for source in shlex.split(arguments)[:-1]
    }
    assert needed <= copied
    [stated] = re.findall(r'ARG EXTRAS="(.*)"', DOCKERFILE)
    assert stated.split() == sorted({*EVERYWHERE, *(extra for spec in SERVICES.values() for extra in spec.extras)})
    assert set(stated.split()) <= set(project["project"]["optional-dependencies"])


def test_the_gateway_ends_what_is_under_way_before_docker_kills_it() -> None:
    [stop] = [arguments for name, arguments in instructions() if name == "STOPSIGNAL"]
    assert stop == "SIGQUIT"
    [seconds] = re.findall(r"worker_shutdown_timeout (\d+)s;", GATEWAY)
    assert int(seconds) < 10
    assert "stop_grace_period" not in CONTAINERS["gateway"]


def test_the_image_is_the_command_and_no_root() -> None:
    last = instructions()[[i for i, (name, _) in enumerate(instructions()) if name == "FROM"][-1] :]
    assert ("ENTRYPOINT", '["kith"]') in last
    assert "kith" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert dict(last)["USER"] == "kith"
    assert {int(port) for port in dict(last)["EXPOSE"].split()} == {port_of(service) for service in SERVICES}


def test_the_image_says_what_it_is() -> None:
    """By the labels of the OCI; of the build it learns version, commit and source."""
    last = instructions()[[i for i, (name, _) in enumerate(instructions()) if name == "FROM"][-1] :]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', dict(last)["LABEL"]))
    assert set(labels) == {"title", "description", "licenses", "version", "revision", "source"}
    assert labels["licenses"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    stated = {arguments.split("=")[0] for name, arguments in last if name == "ARG"}
    assert {labels[name].removeprefix("$") for name in ("version", "revision", "source")} == stated


@pytest.mark.parametrize("file", ["Dockerfile", "docker-compose.yml", ".dockerignore"])
def test_nothing_is_of_one_machine(file: str) -> None:
    text = (ROOT / file).read_text()
    assert not re.search(r"/work/|/root/|/home/|/Users/|index-url|find-links|https?://(?!127\.0\.0\.1|\$)", text)
    assert "--mount=" not in text  # BuildKit's, which docker-compose 1.29 has not
    assert "<<" not in re.sub(r"<<: \*", "", text)  # so are here-documents


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_runs_by_its_command_when_all_is_prepared(service: str) -> None:
    container = CONTAINERS[service]
    assert container["command"] == [service]
    assert service in COMMANDS
    assert container["depends_on"]["setup"] == {"condition": "service_completed_successfully"}
    # For the stop: compose ends a container before those that it depends on, and a job that has ended is none.
    assert {"kafka", "mongo"} <= set(container["depends_on"])
    assert int(container["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    assert container["restart"] == "unless-stopped"
    assert container.get("profiles", []) == ([service] if service in CONNECTORS else [])
    # More of it can run: neither a name nor a port of this machine is for one container only.
    assert not {"ports", "container_name"} & set(container)


@pytest.mark.parametrize("service", SERVICES)
def test_the_health_of_a_service_is_its_readiness(service: str) -> None:
    kind, program, flag, code = CONTAINERS[service]["healthcheck"]["test"]
    assert (kind, program, flag) == ("CMD", "python", "-c")
    ast.parse(code)
    assert f"'http://127.0.0.1:{port_of(service)}/health/ready'" in code


@pytest.mark.parametrize("name", KITH)
def test_what_is_set_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a value is what `.env` may state.
    stated = {key: value for key, value in CONTAINERS[name]["environment"].items() if value is not None}
    environment = {key: substituted(value) for key, value in stated.items()}
    assert set(CONTAINERS[name]["environment"]) <= {f"KITH_{field}".upper() for field in Settings.model_fields}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert settings.kafka == "kafka:9092"
    assert settings.host == "0.0.0.0"
    assert settings.mongo is not None
    assert f"//mongo:27017/?replicaSet={REPLICA_SET}" in settings.mongo
    assert REPLICA_SET in CONTAINERS["mongo"]["command"]
    # What a person can set from outside has the same default as without Docker.
    for key, value in stated.items():
        if re.fullmatch(r"\$\{[^}]*\}", value) and value != substituted(value):
            field = key.removeprefix("KITH_").lower()
            default = Settings.model_fields[field].default
            assert substituted(value) == ("" if default in (None, {}) else str(default))


#: What these files decide themselves: where the servers are and who comes, ports, files, names of one stack. The
#: image has no librdkafka.
DECIDED = re.compile(
    r".*_port|kafka|kafka_.*|mongo|host|proxies|database|topic_prefix|group|.*_file|exports_(analytics|relations)"
)
#: By file, what nobody may state by `.env`: secrets are files in production, and nothing there turns off who may
#: ask, or the encryption. In the other one public addresses are those of this machine's ports, and Cassandra is
#: the profile's.
WITHHELD = {
    "docker-compose.yml": {
        "relations_url",
        "intelligence_url",
        "webhooks_url",
        "apps_url",
        "dashboard_origins",
        "cassandra",
    },
    "deploy/compose.production.yml": {*SECRETS, "master_key", "access", "encryption"},
}


@pytest.mark.parametrize("file", WITHHELD)
def test_every_setting_can_be_stated_beside_the_file(file: str) -> None:
    """Compose drops what no service names. An operator would believe that the keys are kept in a topic."""
    services = yaml.safe_load((ROOT / file).read_text())["services"]
    passed = {
        name: {
            key
            for key, value in services[name]["environment"].items()
            if value is None or re.fullmatch(rf"[^$]*\$\{{{key}:?-.*\}}.*", str(value)) or "MASTER_KEY" in key
        }
        for name in SERVICES
    }
    of_one = {
        field: name for name in CONNECTORS for field in Settings.model_fields if field.startswith(f"{name}_")
    }
    of_one |= {spec.needs: name for name, spec in CONNECTORS.items()}
    of_one |= dict.fromkeys(("relations_url", "intelligence_url"), "analytics")
    of_one |= {
        "webhooks_url": "apps",
        "apps_url": "apps",
        "dashboard_origins": "relations",
        "cassandra": "relations",
    }
    missing = [
        f"{field} in {name}"
        for field in Settings.model_fields
        if not DECIDED.fullmatch(field) and field not in WITHHELD[file] and field != "relations_facts_only"
        for name in ([of_one[field]] if field in of_one else SERVICES)
        if f"KITH_{field.upper()}" not in passed[name]
    ]
    assert not missing


def test_relations_of_compose_find_the_node_of_the_profile() -> None:
    given = CONTAINERS["relations"]["environment"]
    assert given["KITH_CASSANDRA"] == CONTAINERS["cassandra"]["environment"]["KITH_CASSANDRA"]
    assert "KITH_READS" in given


def test_every_port_is_open_to_this_machine_only_and_can_be_another() -> None:
    published = [port for container in CONTAINERS.values() for port in container.get("ports", ())]
    numbers = [re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-(\d+)\}:\d+", port) for port in published]
    assert all(numbers)
    assert len({number[1] for number in numbers if number}) == len(published)
    assert len(published) == len(SERVICES) + len({"kafka", "mongo", "prometheus", "grafana"})


def test_prometheus_scrapes_every_process_of_every_service_and_has_every_rule() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    scraped = {}
    for job in config["scrape_configs"]:
        [found] = job["dns_sd_configs"]
        scraped[job["job_name"]] = (found["names"], found["type"], found["port"])
        assert job["authorization"] == {"credentials_file": "/run/kith/prometheus.key"}
    assert scraped == {service: ([service], "A", port_of(service)) for service in SERVICES}
    mounts = dict(
        mount.rsplit(":", 2)[:2] for mount in CONTAINERS["prometheus"]["volumes"] if mount.count(":") == 2
    )
    for service in SERVICES:
        assert mounts[f"./services/{service}/alerts.yml"] == f"/etc/prometheus/rules/{service}.yml"
    assert config["rule_files"] == ["/etc/prometheus/rules/*.yml"]
    for source in (*mounts, *(mount.split(":")[0] for mount in CONTAINERS["grafana"]["volumes"])):
        assert source == "watch" or (ROOT / source).exists(), source
    assert {name for name, container in CONTAINERS.items() if container.get("profiles") == ["watch"]} == WATCH


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    [source] = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((folder / "dashboards/kith.yml").read_text())["providers"]
    targets = [mount.split(":")[1] for mount in CONTAINERS["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/kith.json" in targets


def test_the_gateway_leads_to_every_service() -> None:
    gateway = CONTAINERS["gateway"]
    for service in SERVICES:
        number = port_of(service)
        assert f"127.0.0.1:${{KITH_{service.upper()}_PORT:-{number}}}:{number}" in gateway["ports"]
        # A connector of a profile that is not on would keep the gateway waiting.
        assert (service in gateway["depends_on"]) == (service in CORE)
        if service in CORE:
            assert gateway["depends_on"][service] == {"condition": "service_healthy"}
        assert len(re.findall(rf"listen {number}\b.*;", GATEWAY)) == 1
        assert f"{number} {service};" in GATEWAY


@pytest.mark.parametrize(
    ("file", "network"), [("docker-compose.yml", "default"), ("deploy/compose.production.yml", "edge")]
)
def test_the_gateway_alone_is_believed_about_its_clients(file: str, network: str) -> None:
    """Any other container could name another client's address in X-Forwarded-For, and open more connections."""
    found = yaml.safe_load(substituted((ROOT / file).read_text()))
    address = found["services"]["gateway"]["networks"][network]["ipv4_address"]
    told = [each.get("environment", {}).get("KITH_PROXIES") for each in found["services"].values()]
    assert {proxies for proxies in told if proxies is not None} == {f'["{address}"]'}
    [pool] = found["networks"][network]["ipam"]["config"]
    assert IPv4Address(address) in IPv4Network(pool["subnet"])
    # Other containers, of which many may start before it, get one of the range.
    assert IPv4Address(address) not in IPv4Network(pool["ip_range"])


def test_what_the_gateway_refuses_itself_is_a_problem_that_has_a_page() -> None:
    page = re.compile(
        r"location = /gateway/(\d+) \{ default_type application/problem\+json;(.*?) return (\d+) \"(.*)\"; \}\n"
    )
    found = page.findall(PROBLEMS)
    numbers = {number for number, *_ in found}
    sent = re.findall(r"error_page ([\d ]+?)(?: =(\d+))? /gateway/(\d+);", PROBLEMS)
    # With "=", an answer has the status of its page: without, that for which nginx goes there.
    assert all(own == number if own else given == number for given, own, number in sent)
    assert {number for *_, number in sent} == numbers
    # All that nginx answers by itself, and the limits that it has. No process that can be reached is no fault of
    # what it would answer: 503.
    pages = {given: number for several, _, number in sent for given in several.split()}
    assert pages["502"] == "503"
    assert pages["494"] == pages["414"] == "431"
    assert {"400", "405", "408", "413", "429", "500", "501", "504", "505"} <= pages.keys()
    for number, headers, status, text in found:
        body = json.loads(text.replace('\\"', '"'))
        assert number == status == str(body["status"])
        kind = of_uri(body["type"])
        assert kind is not None
        assert kind.status in (body["status"], 0)
        assert body["title"] == kind.title
        assert body["detail"]
        assert ("Retry-After" in headers) == (number in ("429", "503", "504"))
    # nginx gives every other status a page of its own, and these are all that it has cause for here.
    assert "proxy_intercept_errors" not in GATEWAY
    assert GATEWAY.count("include problems.conf;") == GATEWAY.count("server {")


def test_the_gateway_logs_its_processes_and_no_request() -> None:
    """nginx adds the whole address to a line about a request, of whatever level: none is above ``emerg``."""
    of_processes, of_requests = re.findall(r"error_log \S+ (\w+);", GATEWAY)
    assert GATEWAY.index("http {") < GATEWAY.index(f"error_log /dev/stderr {of_requests};")
    assert (of_processes, of_requests) == ("crit", "emerg")


def test_the_gateway_has_files_for_its_connections_and_many_times_those_of_an_address() -> None:
    """Heads that never end are of no address yet, and keep their connections until they are late."""
    [files], [connections], [of_address] = (
        re.findall(rf"{name} (\d+);", GATEWAY)
        for name in ("worker_rlimit_nofile", "worker_connections", "limit_conn address")
    )
    assert int(files) > int(connections)
    [head] = re.findall(r"client_header_timeout (\d+)s;", GATEWAY)
    # docs/why/limits.md: what opens more in a second is for whoever is in front.
    assert int(connections) >= 1_000 * int(head) + 10 * int(of_address)


def test_the_gateway_has_memory_for_all_heads_and_for_the_bodies_of_several_addresses() -> None:
    production = yaml.safe_load(substituted((ROOT / "deploy/compose.production.yml").read_text()))
    assert production["services"]["gateway"]["mem_limit"] == "1g"
    memory_kib = 1024 * 1024
    [connections], [bodies], [body], [buffered] = (
        [int(found) for found in re.findall(rf"{name} (\d+)k?;", GATEWAY)]
        for name in ("worker_connections", "limit_conn bodies", "client_max_body_size", "client_body_buffer_size")
    )
    # What does not fit into the buffer is in files, of a file system that is memory.
    assert MAX_BODY_BYTES < body * 1024 <= buffered * 1024
    assert 7 * bodies * body < memory_kib
    [[buffers, size]] = re.findall(r"large_client_header_buffers (\d+) (\d+)k;", GATEWAY)
    # With 16 KiB of a connection itself: 10,000 of them took 14 each.
    assert connections * (int(buffers) * int(size) + 16) < memory_kib


def test_the_gateway_waits_for_an_answer_longer_than_a_service_may_take() -> None:
    """Else an answer that the service would have given is 504, and never says why."""
    computing = Settings.model_fields["measure_seconds"].default
    asked = MeasureServices("", "", computing).timeout_seconds
    assert asked > computing + Settings.model_fields["query_seconds"].default
    everywhere, of_exports = (float(found) for found in re.findall(r"proxy_read_timeout (\d+)s;", GATEWAY))
    assert everywhere > asked
    assert of_exports > STREAM_MS / 1000
    [exports] = re.findall(r"server \{[^}]*?listen 8705\b.*?proxy_read_timeout (\d+)s;", GATEWAY, re.DOTALL)
    assert float(exports) == of_exports


def test_kafka_sends_its_clients_to_where_they_can_reach_it() -> None:
    environment = CONTAINERS["kafka"]["environment"]
    advertised = substituted(environment["KAFKA_ADVERTISED_LISTENERS"]).split(",")
    assert advertised == ["INTERNAL://kafka:9092", "HOST://127.0.0.1:9094"]
    inside = dict(item.rsplit(":", 1) for item in environment["KAFKA_LISTENERS"].split(","))
    assert inside["HOST://"] == CONTAINERS["kafka"]["ports"][0].rsplit(":", 1)[1]
    assert "127.0.0.1:${KAFKA_PORT:-9094}" in environment["KAFKA_ADVERTISED_LISTENERS"]
    mapped = dict(item.split(":") for item in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert {f"{name}://" for name in mapped} == set(inside)


def test_the_servers_keep_their_data_in_volumes() -> None:
    kept = {
        volume
        for name, container in CONTAINERS.items()
        for volume in container.get("volumes", ())
        if not container.get("profiles")
    }
    assert kept == {"kafka:/var/lib/kafka/data", "mongo:/data/db"}
    kept = {
        volume for container in CONTAINERS.values() for volume in container.get("volumes", ()) if volume[0] != "."
    }
    assert {volume.split(":")[0] for volume in kept} == set(COMPOSE["volumes"])
    assert CONTAINERS["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"


def test_all_that_stays_up_is_checked() -> None:
    assert {name for name, container in CONTAINERS.items() if "healthcheck" not in container} == {
        "setup",
        "watch-key",
    }
    assert {name for name, container in CONTAINERS.items() if "restart" not in container} == {
        "setup",
        "watch-key",
    }


def test_the_setup_is_there_and_waits_for_both_servers() -> None:
    container = CONTAINERS["setup"]
    assert container["entrypoint"] == []
    python, flag, module = container["command"]
    assert (python, flag) == ("python", "-m")
    assert find_spec(module) is not None
    assert set(container["depends_on"]) == {"kafka", "mongo"}


def test_setup_needs_both_servers() -> None:
    environment = {"PATH": os.environ["PATH"], "KITH_KAFKA": "127.0.0.1:1"}
    command = [sys.executable, *CONTAINERS["setup"]["command"][1:]]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "KITH_MONGO" in ended.stderr


def test_setup_gives_up_on_servers_that_stay_away() -> None:
    kafka, mongo = free_ports(2)
    settings = Settings(kafka=f"127.0.0.1:{kafka}", mongo=f"mongodb://127.0.0.1:{mongo}/?replicaSet=rs0")
    with pytest.raises(Unavailable, match="MongoDB"):
        setup(settings, wait_seconds=0.0)


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [("mongodb://127.0.0.1:1/", "names no replica set"), ("127.0.0.1:1", "is not a MongoDB URI")],
)
def test_setup_refuses_what_cannot_become_a_replica_set(uri: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        initiate(uri)


def test_setup_leaves_a_replica_set_of_several_servers_to_its_operator() -> None:
    assert initiate("mongodb://127.0.0.1:1,127.0.0.1:2/?replicaSet=rs0") == []


@pytest.fixture
def new_mongod(tmp_path: Path) -> Iterator[MongoServer]:
    """A mongod that is no replica set yet."""
    [port] = free_ports(1)
    server = MongoServer(tmp_path / "data", port, tmp_path / "mongo.log")
    server.launch()
    try:
        # Answering: initiate() waits for a second, and mongod may take longer to start.
        with MongoClient[dict[str, Any]](server.uri, replicaSet=None, directConnection=True) as client:
            client.admin.command("ping")
        yield server
    finally:
        server.stop()


def test_a_replica_set_is_made_once_and_then_left_alone(new_mongod: MongoServer) -> None:
    assert initiate(new_mongod.uri) == [REPLICA_SET]
    assert initiate(new_mongod.uri) == []
    with MongoClient[dict[str, Any]](new_mongod.uri) as client:  # finds the primary by the member's address
        config = client.admin.command("replSetGetConfig")["config"]
    assert [member["host"] for member in config["members"]] == [f"127.0.0.1:{new_mongod.port}"]
    assert config["version"] == 1


def test_another_address_of_a_replica_set_changes_nothing(new_mongod: MongoServer) -> None:
    assert initiate(new_mongod.uri) == [REPLICA_SET]
    assert initiate(new_mongod.uri.replace("127.0.0.1", "localhost")) == []
    with MongoClient[dict[str, Any]](new_mongod.uri) as client:
        config = client.admin.command("replSetGetConfig")["config"]
    assert [member["host"] for member in config["members"]] == [f"127.0.0.1:{new_mongod.port}"]
