"""The Helm chart has every service, and what it renders is valid Kubernetes and keeps to its promises."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus

from services.analytics.dashboard.pages import ASKED
from services.apps.portal.pages import NAMED
from services.cli.grants import user_of
from shared.contracts.services import CORE, SERVICES
from shared.contracts.topics import Topics
from shared.runtime.deadline import STOP_SECONDS
from shared.settings import SECRETS, Settings
from tests.support.chart import CHART, KUBERNETES, helm, render
from tests.support.paths import ROOT
from tests.support.production import CONTAINERS, environment_of, has_master_key

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
#: Everything that can be switched on.
ALL: dict[str, Any] = {
    **{f"services.{name}.enabled": True for name in SERVICES},
    "jobs.privileges": True,
    "autoscaling.enabled": True,
    "keda.enabled": True,
    "serviceMonitor.enabled": True,
    "ingress": {"enabled": True, "tlsSecret": "tls", "hosts": {"ingest": "in.example", "relations": "re.example"}},
    "networkPolicy.from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
    "urls": {name: f"https://{name}.example" for name in VALUES["urls"]},
    "secrets.auditKey": True,
    "settings": {"KITH_LOG_LEVEL": "warning"},
    "services.relations.settings": {"KITH_THREADS": 8, "KITH_LOG_LEVEL": "debug"},
    "image.pullSecrets": ["registry"],
}
#: Settings that bound memory.
BOUNDS = {"measure_processes", "measure_memory_mib", "intelligence_max_edges"}
#: Of a relationship in the graph, after changes: docs/how-to/recommend.md.
EDGE_BYTES = 40
MIB = 1024 * 1024
#: Kinds that Kubernetes does not know itself.
EXTENSIONS: dict[str, Any] = {
    "ScaledObject": keda.ScaledObject,
    "TriggerAuthentication": keda.TriggerAuthentication,
    "ServiceMonitor": prometheus.ServiceMonitor,
}


@cache
def everything(kubernetes: str = KUBERNETES[0]) -> list[dict[str, Any]]:
    """All resources that there can be. Nobody changes them."""
    return render(kubernetes, **ALL)


def pods(resources: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in resources:
        if each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def by_name(resources: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in resources if each["kind"] == kind}


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    [container] = pod["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names)), "a setting is stated twice"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


# Without Helm


def test_the_values_list_the_services_as_the_table_does() -> None:
    assert list(VALUES["services"]) == list(SERVICES), "deploy/helm/kith/values.yaml: services"
    for name, spec in SERVICES.items():
        of = VALUES["services"][name]
        assert of["port"] == spec.port
        assert of["enabled"] == (name in CORE)
        assert tuple(of.get("folds", ())) == spec.folds, name
        assert of.get("needs", "") == spec.needs
        assert of.get("masterKey", False) == has_master_key(name), name


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_a_process_has_the_time_to_end() -> None:
    assert VALUES["terminationGracePeriodSeconds"] > VALUES["drainSeconds"] + STOP_SECONDS


def test_nothing_is_killed_for_memory_before_its_own_bound_answers() -> None:
    """In the chart, and in the file of docker-compose for production."""
    rendered = dict(pods(render()))
    for name in CORE:
        [container] = rendered[f"kith-{name}"]["containers"]
        [tmp] = [each["emptyDir"] for each in rendered[f"kith-{name}"]["volumes"] if each["name"] == "tmp"]
        limit = mebibytes(container["resources"]["limits"]["memory"])
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert limit >= wanted(name, environment(rendered[f"kith-{name}"])) + mebibytes(tmp["sizeLimit"]), name
        told = environment_of(name, Path("/secrets"))
        assert mebibytes(CONTAINERS[name]["mem_limit"]) >= wanted(name, told), name
    # What a temporary file cannot fill is refused to it, and nobody is killed.
    [size] = CONTAINERS["exports"]["tmpfs"]
    assert mebibytes(size.removeprefix("/tmp:size=")) * 2 <= mebibytes(CONTAINERS["exports"]["mem_limit"])


def wanted(service: str, told: dict[str, Any]) -> float:
    """MiB that a service may take before a setting of its own ends it, and what it needs beside that."""
    stated = {key.removeprefix("KITH_").lower(): value for key, value in told.items()}
    given = Settings.model_validate({name: stated[name] for name in BOUNDS & stated.keys()})
    if service in ("relations", "analytics"):
        return 768 + given.measure_processes * given.measure_memory_mib
    if service == "intelligence":
        return 256 + given.intelligence_max_edges * 2 * EDGE_BYTES / MIB
    return 768


def mebibytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi|m|g)", size).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit.lower().startswith("g") else 1)


# As Helm renders it


@pytest.mark.parametrize("whole", [False, True], ids=["default", "everything"])
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_resource_is_valid(kubernetes: str, whole: bool) -> None:
    resources = everything(kubernetes) if whole else render(kubernetes)
    for each in resources:
        model = EXTENSIONS.get(each["kind"])
        if model is None:
            kubernetes_validate.validate(each, kubernetes, strict=True)
        else:
            # What the model does not know would be missing here.
            assert model.model_validate(each).model_dump(by_alias=True, exclude_unset=True, mode="json") == each
    names = [(each["kind"], each["metadata"]["name"]) for each in resources]
    assert len(set(names)) == len(names)
    assert {each["metadata"]["namespace"] for each in resources} == {"shop"}
    if whole:
        assert set(EXTENSIONS) <= {kind for kind, _ in names}
        assert {f"kith-{service}" for service in SERVICES} == set(by_name(resources, "Deployment"))
    else:
        assert {f"kith-{service}" for service in CORE} == set(by_name(resources, "Deployment"))


def test_helm_finds_nothing_to_complain_of() -> None:
    done = helm("lint", str(CHART), "--strict", "--set", "kafka.bootstrap=kafka:9093")
    assert done.returncode == 0, done.stdout


def test_what_has_no_default_is_asked_for() -> None:
    done = helm("template", "kith", str(CHART), "--kube-version", KUBERNETES[0])
    assert done.returncode != 0
    assert "kafka.bootstrap: the addresses of Kafka's brokers" in done.stderr


def test_no_process_has_more_rights_than_it_needs() -> None:
    for name, pod in pods(everything()):
        [container] = pod["containers"]
        security = container["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert "memory" in container["resources"]["limits"]
        assert not {"hostNetwork", "hostPID", "hostPort"} & set(str(pod).split("'"))


def test_secrets_are_files_of_the_process_that_needs_them() -> None:
    rendered = everything()
    assert not [each for each in by_name(rendered, "Secret").values() if "password" in each["stringData"]]
    for name, pod in pods(rendered):
        service = name.removeprefix("kith-")
        given = environment(pod)
        stated = {f"KITH_{each}".upper() for each in SECRETS} | {"KITH_MASTER_KEY"}
        assert not stated & set(given), name
        assert set(given) <= {f"KITH_{field}".upper() for field in Settings.model_fields}, name
        volumes = {each["name"]: each["secret"] for each in pod["volumes"] if "secret" in each}
        mounted = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        if service not in SERVICES:
            continue
        assert volumes["own"]["secretName"] == f"kith-{service}"
        files = {f"{mounted['shared']}/{each['path']}" for each in volumes["shared"]["items"]}
        own = {mounted["own"] + "/" + key for key in ("kafka-password", "mongo", SERVICES[service].needs)}
        named = {value for key, value in given.items() if key.endswith("_FILE")}
        assert named <= files | own
        assert given["KITH_KAFKA_USERNAME"] == user_of(service)
        assert ("KITH_MASTER_KEY_FILE" in given) == VALUES["services"][service].get("masterKey", False)
        assert {each["mode"] for each in volumes.values() if "mode" in each} == set()
        assert {each["defaultMode"] for each in volumes.values()} == {0o440}


def test_a_service_is_asked_how_it_is_and_its_own_settings_come_first() -> None:
    resources = everything()
    deployments, services = by_name(resources, "Deployment"), by_name(resources, "Service")
    for name, spec in SERVICES.items():
        pod = deployments[f"kith-{name}"]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["args"] == [name]
        assert container["image"].startswith(f"kith-{name}:")
        assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}
        assert container["ports"] == [{"name": "http", "containerPort": spec.port}]
        assert services[f"kith-{name}"]["spec"]["ports"][0]["port"] == spec.port
        assert environment(pod)[f"KITH_{name.upper()}_PORT"] == str(spec.port)
        assert environment(pod)["KITH_LOG_LEVEL"] == ("debug" if name == "relations" else "warning")


def test_pages_are_told_where_the_apis_are_and_those_where_the_pages_are() -> None:
    pods_of = dict(pods(everything()))
    given = {name: environment(pods_of[f"kith-{name}"]) for name in SERVICES}
    for page, asked in {"analytics": ASKED, "apps": NAMED}.items():
        for name in asked:
            assert given[page][f"KITH_{name.upper()}_URL"] == f"https://{name}.example"
    for name in ASKED:
        assert given[name]["KITH_DASHBOARD_ORIGINS"] == '["https://dashboard.example"]'
    assert given["webhooks"]["KITH_APPS_URL"] == given["apps"]["KITH_APPS_URL"] == "https://apps.example"


def test_a_job_has_the_settings_of_all() -> None:
    values: dict[str, Any] = {"jobs.privileges": True, "settings": {"KITH_KEYS_TOPIC": "on"}}
    for name, pod in pods(render(**values)):
        assert environment(pod)["KITH_KEYS_TOPIC"] == "on", f"{name} makes no topic of keys, or uses none"


def test_workers_scale_by_the_lag_of_their_own_group_and_the_others_by_cpu() -> None:
    resources, topics = everything(), Topics()
    scaled, by_cpu = by_name(resources, "ScaledObject"), by_name(resources, "HorizontalPodAutoscaler")
    for name, spec in SERVICES.items():
        assert (f"kith-{name}" in scaled, f"kith-{name}" in by_cpu) == (bool(spec.folds), not spec.folds)
        assert "replicas" not in by_name(resources, "Deployment")[f"kith-{name}"]["spec"], "two would set it"
        if spec.folds:
            triggers = [each["metadata"] for each in scaled[f"kith-{name}"]["spec"]["triggers"]]
            assert {each["topic"] for each in triggers} == {topics.name(short) for short in spec.folds}
            assert {each["consumerGroup"] for each in triggers} == {f"kith.{name}"}


@pytest.mark.parametrize(
    ("protocol", "told"),
    [
        ("PLAINTEXT", None),
        ("SSL", {"tls": "enable", "ca": "kith-shared/ca.crt"}),
        ("SASL_PLAINTEXT", {"tls": "disable", "sasl": "scram_sha512", "username": "kith-relations"}),
        (
            "SASL_SSL",
            {"tls": "enable", "ca": "kith-shared/ca.crt", "sasl": "scram_sha512", "username": "kith-relations"},
        ),
    ],
)
def test_what_scales_speaks_to_kafka_as_the_services_do(protocol: str, told: dict[str, str] | None) -> None:
    values: dict[str, Any] = {"keda.enabled": True, "kafka.securityProtocol": protocol}
    resources = render(**values)
    triggers = by_name(resources, "ScaledObject")["kith-relations"]["spec"]["triggers"]
    asks = {each.get("authenticationRef", {}).get("name") for each in triggers}
    if told is None:
        assert asks == {None}
        assert "TriggerAuthentication" not in {each["kind"] for each in resources}
        return
    assert asks == {"kith-relations"}
    secrets = by_name(resources, "Secret")["kith-relations-keda"]["stringData"]
    parameters = by_name(resources, "TriggerAuthentication")["kith-relations"]["spec"]["secretTargetRef"]
    found = {
        each["parameter"]: secrets[each["key"]]
        if each["name"] == "kith-relations-keda"
        else f"{each['name']}/{each['key']}"
        for each in parameters
    }
    password = {"password": "kith-relations/kafka-password"} if "SASL" in protocol else {}
    assert found == {**told, **password}
    assert set(secrets) == {each["key"] for each in parameters if each["name"] == "kith-relations-keda"}


def test_the_page_installs_the_images_that_it_has_built() -> None:
    page = (ROOT / "docs/how-to/kubernetes.md").read_text()
    [command] = re.findall(r"helm install kith deploy/helm/kith ((?:.*\\\n)*.*)", page)
    stated: dict[str, Any] = dict(each.split("=", 1) for each in re.findall(r"--set (\S+)", command))
    [built] = set(re.findall(r"-t (\S+?/kith):", page))
    assert stated["image.repository"] == built
    stated["jobs.privileges"] = stated["jobs.privileges"] == "true"
    for name, pod in pods(render(**stated)):
        assert pod["containers"][0]["image"].startswith(built), name


def test_the_job_of_the_page_is_valid_and_has_what_a_job_of_the_chart_has() -> None:
    page = (ROOT / "docs/how-to/kubernetes.md").read_text()
    [text] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    job = yaml.safe_load(text)
    for kubernetes in KUBERNETES:
        kubernetes_validate.validate(job, kubernetes, strict=True)
    # The image's entry point is the command itself.
    command = re.findall(r"`command: (\[sh, -c, .*?\])`", page)
    assert [yaml.safe_load(each)[2].split()[:3] for each in command] == [["exec", "kith", "backup"]]
    # The setting of the audit's key, where it is uncommented.
    whole = yaml.safe_load(re.sub(r"^( +)# (- \{ name: KITH_AUDIT)", r"\1\2", text, flags=re.MULTILINE))
    given = environment(whole["spec"]["template"]["spec"])
    assert (
        given["KITH_AUDIT_KEY_FILE"] == environment(dict(pods(everything()))["kith-ingest"])["KITH_AUDIT_KEY_FILE"]
    )


def test_jobs_before_an_installation_grant_first_and_then_make_the_topics() -> None:
    jobs = by_name(everything(), "Job")
    order = sorted(jobs, key=lambda name: int(jobs[name]["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert order == ["kith-privileges", "kith-topics"]
    assert {jobs[name]["metadata"]["annotations"]["helm.sh/hook"] for name in order} == {"pre-install,pre-upgrade"}
    ran = [jobs[name]["spec"]["template"]["spec"]["containers"][0] for name in order]
    assert [each["args"] for each in ran] == [
        ["privileges", "--apply", "/run/secrets/passwords"],
        ["topics", "create"],
    ]
    assert {each["image"].partition(":")[0] for each in ran} == {"kith"}, (
        "one service's image has not the command's extras"
    )
