"""deploy/compose.production.yml has every service, with its own secrets and no more rights than it needs."""

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.analytics.dashboard.pages import ASKED
from services.apps.portal.pages import NAMED
from services.cli.grants import passwords_in, user_of
from services.cli.privileges import BACKUP, OPERATOR
from shared.contracts.services import CONNECTORS, CORE, EVERYWHERE, SERVICES
from shared.runtime.deadline import STOP_SECONDS
from shared.settings import SECRETS, Settings
from shared.vault.master import FileKeys
from tests.support.paths import ROOT
from tests.support.production import CONTAINERS, FILE, SCRIPT, environment_of, has_master_key, make_secrets

COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
BASE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
#: What runs Kith's own code.
OWN = [*SERVICES, "setup", "kith", "backup"]

each_service = pytest.mark.parametrize("name", SERVICES)


def test_every_service_has_a_place() -> None:
    assert set(CONTAINERS) == {*OWN, "kafka", "mongo", "gateway"}, "deploy/compose.production.yml"


@each_service
def test_a_service_has_its_own_image_of_this_version(name: str) -> None:
    container, spec = CONTAINERS[name], SERVICES[name]
    assert container["image"] == f"kith-{name}:${{KITH_VERSION:-{VERSION}}}"
    assert container["build"]["args"]["EXTRAS"].split() == [*EVERYWHERE, *spec.extras]
    assert container["build"]["args"]["VERSION"] == f"${{KITH_VERSION:-{VERSION}}}"
    assert container["command"] == [name]
    assert container.get("profiles", []) == ([name] if name in CONNECTORS else [])
    assert f"127.0.0.1:{spec.port}/health/ready" in str(container["healthcheck"]["test"])
    assert int(container["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    assert {"setup", "kafka", "mongo"} <= set(container["depends_on"])


@each_service
def test_a_service_has_its_own_user_and_the_secrets_of_nobody_else(name: str) -> None:
    container, needs = CONTAINERS[name], SERVICES[name].needs
    told = container["environment"]
    assert told["KITH_KAFKA_USERNAME"] == user_of(name)
    wanted = {f"{name}.password", f"{name}.mongo", "ca.crt"}
    wanted |= ({"master.key"} if has_master_key(name) else set()) | ({f"{name}.{needs}"} if needs else set())
    named = {
        value.removeprefix("/run/secrets/")
        for key, value in told.items()
        if key.endswith("_FILE") and not value.startswith("$")
    }
    assert named == wanted
    # An operator may name it.
    wanted.add("audit.key")
    if name == "relations":  # it may read lists there
        wanted.add("cassandra.cassandra")
    assert set(container["secrets"]) == wanted


@pytest.mark.parametrize("name", OWN)
def test_no_secret_is_in_the_environment_and_none_comes_from_the_shell(name: str) -> None:
    told = environment_of(name, Path("/secrets"))
    assert set(told) <= {f"KITH_{field}".upper() for field in Settings.model_fields}
    assert not set(told) & {"KITH_MASTER_KEY", *(f"KITH_{secret.upper()}" for secret in SECRETS)}
    assert told["KITH_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"


def test_no_command_needs_anything_of_the_shell() -> None:
    assert re.findall(r"(?<!\$)\$\{(?![A-Z_]+:-)[^}]*\}", FILE.read_text()) == []


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_confined(name: str) -> None:
    container = CONTAINERS[name]
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(container)
    # Kafka's image writes beside its program.
    assert container.get("read_only", False) == (name != "kafka")
    assert "privileged" not in container


def test_only_the_gateway_has_ports_and_the_servers_no_way_out() -> None:
    assert [name for name, container in CONTAINERS.items() if "ports" in container] == ["gateway"]
    ports = CONTAINERS["gateway"]["ports"]
    assert ports == [f"${{KITH_ADDRESS:-127.0.0.1}}:{spec.port}:{spec.port}" for spec in SERVICES.values()]
    assert set(CONTAINERS["gateway"]["depends_on"]) == set(CORE)
    assert COMPOSE["networks"]["servers"] == {"internal": True}
    for server in ("kafka", "mongo"):
        assert CONTAINERS[server]["networks"] == ["servers"]
        # Of the same version as without users.
        assert CONTAINERS[server]["image"] == BASE[server]["image"]
    assert set(CONTAINERS["gateway"]["networks"]) == {"edge"}
    for name in (*CONNECTORS, "kith"):
        assert set(CONTAINERS[name]["networks"]) == {"servers", "edge"}, "its other server is elsewhere"


def test_pages_are_told_where_the_apis_are_and_those_where_the_pages_are() -> None:
    given = {name: environment_of(name, Path("/secrets")) for name in SERVICES}
    for page, asked in {"analytics": ASKED, "apps": NAMED}.items():
        for name in asked:
            assert given[page][f"KITH_{name.upper()}_URL"] == f"http://127.0.0.1:{SERVICES[name].port}"
    for name in ASKED:
        assert given[name]["KITH_DASHBOARD_ORIGINS"] == f'["http://127.0.0.1:{SERVICES["analytics"].port}"]'
    assert given["webhooks"]["KITH_APPS_URL"] == given["apps"]["KITH_APPS_URL"]
    assert {environment_of(name, Path("/secrets"))["KITH_KEYS_TOPIC"] for name in OWN} == {"off"}


def test_a_backup_is_written_into_a_folder_of_the_machine_by_a_user_of_its_own() -> None:
    container = CONTAINERS["backup"]
    assert container["volumes"] == ["${KITH_BACKUPS:-./backups}:/backups"]
    assert container["profiles"] == ["command"]
    assert set(container["secrets"]) == {"backup.password", "backup.mongo", "ca.crt", "audit.key"}
    assert container["environment"]["KITH_KAFKA_USERNAME"] == user_of(BACKUP)


def test_a_restore_waits_for_the_job_that_makes_its_user() -> None:
    """On a MongoDB that is new, and starts no service before: on an empty database these would make new keys."""
    assert CONTAINERS["backup"]["depends_on"] == CONTAINERS["ingest"]["depends_on"]
    page = (ROOT / "docs/how-to/docker.md").read_text().partition("If MongoDB's data is lost")[2]
    compose = "docker-compose -f deploy/compose.production.yml "
    steps = [line.strip().removeprefix(compose) for line in page.splitlines() if compose in line][:5]
    assert steps == [
        "stop",
        "up -d kafka mongo",
        "run --rm setup",
        "run --rm backup restore /backups/2026-11-29",
        "up -d",
    ]


@pytest.mark.parametrize("name", OWN)
def test_who_adds_to_the_audit_gets_its_key_where_the_operator_names_it(name: str) -> None:
    told, secrets = CONTAINERS[name]["environment"], CONTAINERS[name]["secrets"]
    expected = ("", False) if name == "setup" else ("${KITH_AUDIT_KEY_FILE:-}", True)
    assert (told["KITH_AUDIT_KEY_FILE"], "audit.key" in secrets) == expected


def test_the_job_has_every_user_s_password() -> None:
    users = {f"{name}.password" for name in (*SERVICES, OPERATOR, BACKUP)}
    assert users == set(CONTAINERS["setup"]["secrets"]) - {"admin.password", "admin.mongo", "ca.crt"}


def test_the_script_makes_every_secret_and_leaves_what_is_there(tmp_path: Path) -> None:
    make_secrets(tmp_path, 27017)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(COMPOSE["secrets"]) == set(found) - {"ca.key"}
    for name, stated in COMPOSE["secrets"].items():
        assert stated == {"file": f"${{KITH_SECRETS:-./secrets}}/{name}"}
    assert set(passwords_in(tmp_path, dict.fromkeys((*SERVICES, OPERATOR, BACKUP))))
    assert len(FileKeys(tmp_path / "master.key").known()) == 1
    open_to_all = [name for name in found if (tmp_path / name).stat().st_mode & (stat.S_IROTH | stat.S_IRGRP)]
    assert open_to_all == ["ca.crt"]
    make_secrets(tmp_path, 27017)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == found


@pytest.mark.parametrize("fails", ["req", "x509", "rand"])
def test_a_script_whose_openssl_fails_says_so_and_leaves_no_empty_secret(tmp_path: Path, fails: str) -> None:
    """What exists stays: an empty password would for ever."""
    found = shutil.which("openssl")
    assert found is not None
    own = tmp_path / "openssl"
    own.write_text(
        f'#!/bin/sh\n[ "$1" != {fails} ] || {{ echo "unknown option" >&2; exit 1; }}\nexec {found} "$@"\n'
    )
    own.chmod(0o755)
    folder = tmp_path / "secrets"
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin"}
    done = subprocess.run(["sh", SCRIPT, folder], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown option" in done.stderr
    assert [path.name for path in folder.iterdir() if path.suffix != ".new" and not path.stat().st_size] == []
    # With one that works, the next run makes what is missing.
    make_secrets(folder, 27017)
    assert set(COMPOSE["secrets"]) <= {path.name for path in folder.iterdir()}


def test_the_script_asks_nothing_that_only_a_new_openssl_knows() -> None:
    """Debian 11 and RHEL 8 have 1.1.1. There, ``-addext`` adds an extension that its own file has once more."""
    assert not re.search(r"-(noenc|addext)\b(?! states)", SCRIPT.read_text())


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="there is no docker-compose")
def test_docker_compose_takes_the_file(tmp_path: Path) -> None:
    command = ["docker-compose", "-f", str(FILE), "config", "--quiet"]
    environment = {"PATH": os.environ["PATH"], "KITH_SECRETS": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
