"""The example for Kubernetes, as far as it can be checked without a cluster: it fits the code, and itself."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.app import create_app
from service.settings import ServiceSettings
from tests.settings_known import SETTINGS

FOLDER = Path(__file__).parents[1] / "docs" / "kubernetes"
TEXT = FOLDER.with_suffix(".md").read_text()
DOCUMENTS = [
    document
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]
PODS = {d["metadata"]["name"]: d["spec"]["template"] for d in DOCUMENTS if d["kind"] in ("Deployment", "Job")}
COMMANDS = {"structguard", "python", "celery"}  # what the images have on their PATH


def containers() -> Iterator[dict[str, Any]]:
    for pod in PODS.values():
        yield from pod["spec"]["containers"]


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in DOCUMENTS if document["kind"] == kind}


def test_every_setting_exists_and_no_secret_stands_in_it() -> None:
    given = {variable["name"] for container in containers() for variable in container.get("env", [])}
    given |= {name for config in named("ConfigMap").values() for name in config["data"]}
    assert {name for name in given if name.startswith("STRUCTGUARD_")} <= SETTINGS
    assert len(given) > 5
    assert not {name for name in given if name.endswith(("_URL", "_TOKEN", "_PASSWORD"))}
    assert named("Secret") == {}


def test_what_is_referred_to_is_there_or_said_to_be_made() -> None:
    for pod in PODS.values():
        for volume in pod["spec"]["volumes"]:
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "structguard-artifacts") in named(
                "PersistentVolumeClaim"
            )
            assert f"secret generic {volume.get('secret', {}).get('secretName', 'structguard-files')} " in TEXT
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}
            for source in container["envFrom"]:
                assert source.get("configMapRef", {}).get("name", "structguard") in named("ConfigMap")
                assert f"secret generic {source.get('secretRef', {}).get('name', 'structguard')} " in TEXT
    for scaler in named("HorizontalPodAutoscaler").values():
        assert scaler["spec"]["scaleTargetRef"]["name"] in named("Deployment")
    [rule] = named("Ingress")["structguard"]["spec"]["rules"]
    assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} == set(named("Service"))


def test_commands_are_those_of_the_images() -> None:
    for container in containers():
        image = "worker" if "worker" in container["image"] else "service"
        assert container["args"][0] in COMMANDS
        dockerfile = (FOLDER.parents[1] / "docker" / f"{image}.Dockerfile").read_text()
        if container["name"] == image:
            assert f"CMD {container['args']}".replace("'", '"') in dockerfile
    for command in (["-m", "service.cli", "migrate", "--help"], ["-m", "celery", "--version"]):
        subprocess.run([sys.executable, *command], check=True, capture_output=True)


def test_probes_ask_for_what_the_service_answers(tmp_path: Path) -> None:
    known = set(create_app(ServiceSettings(data_dir=tmp_path)).openapi()["paths"])
    [service] = PODS["structguard-service"]["spec"]["containers"]
    probes = {name: service[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["path"] for probe in probes.values()} == {"/livez", "/readyz"} <= known
    assert probes["livenessProbe"]["path"] == "/livez"  # one that waits for its database is not to be restarted
    ports = {port["name"] for port in service["ports"]}
    assert {probe["port"] for probe in probes.values()} | {"http"} == ports
    assert service["ports"][0]["containerPort"] == ServiceSettings().port


def test_nothing_runs_as_root_or_may_become_more_than_it_is() -> None:
    for pod in PODS.values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["securityContext"]["runAsUser"] == 10001  # of the images
        assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers():
        allowed = container["securityContext"]
        assert (allowed["allowPrivilegeEscalation"], allowed["readOnlyRootFilesystem"]) == (False, True)
        assert allowed["capabilities"] == {"drop": ["ALL"]}


def test_selectors_select() -> None:
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    wanted = [d["spec"]["selector"] for d in DOCUMENTS if d["kind"] in ("Deployment", "PodDisruptionBudget")]
    wanted += [{"matchLabels": service["spec"]["selector"]} for service in named("Service").values()]
    wanted += [policy["spec"]["podSelector"] for policy in named("NetworkPolicy").values()]
    for selector in wanted:
        assert any(selector["matchLabels"].items() <= given.items() for given in labels), selector


def test_a_worker_gets_a_gpu_where_there_are_some_and_time_to_hand_its_job_back() -> None:
    worker = PODS["structguard-worker"]["spec"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert worker["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert worker["terminationGracePeriodSeconds"] >= 30
    assert "livenessProbe" not in worker["containers"][0]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_is_named_where_it_is_used(path: Path) -> None:
    assert path.name == "kustomization.yaml" or f"`{path.name}`" in TEXT
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "migrate.yaml", "kustomization.yaml"} == {each.name for each in FOLDER.glob("*.yaml")}
