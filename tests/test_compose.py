"""The production topology, as far as it can be checked without a Docker engine.

tests/acceptance/test_topology.py runs it as plain processes.
"""

import re
from pathlib import Path

import pytest
import yaml

from tests.settings_known import SETTINGS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = ("migrate", "service", "worker")
SECRETS = {"POSTGRES_PASSWORD", "METRICS_TOKEN", "GRAFANA_PASSWORD"}

each = pytest.mark.parametrize("name", SERVICES)


@each
def test_every_process_is_given_settings_that_exist(name: str) -> None:
    given = {key for key in SERVICES[name].get("environment", {}) if key.startswith("STRUCTGUARD_")}
    assert given <= SETTINGS


@each
def test_every_process_waits_for_processes_that_exist_until_they_can_work(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        ends = wanted["condition"] == "service_completed_successfully"
        assert ends or "healthcheck" in SERVICES[other]


@each
def test_every_process_that_stays_says_how_it_is_and_is_started_again(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name != "migrate")
    assert SERVICES[name]["restart"] == ("no" if name == "migrate" else "unless-stopped")


@each
def test_every_process_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # Compose cannot put a secret into a file of a root file system that nobody may write to.
    assert service.get("read_only", False) or service["secrets"]


@each
def test_what_is_named_is_declared_and_what_is_mounted_exists(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()


@each
def test_versions_are_pinned_and_ports_are_open_on_this_machine_only(name: str) -> None:
    assert name in OURS or re.search(r":v?\d", SERVICES[name]["image"])
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_no_secret_stands_in_the_file_and_each_must_be_given() -> None:
    assert set(re.findall(r"\$\{(\w+):\?put it into .env\}", TEXT)) == SECRETS
    assert set(re.findall(r"(?<!\$)\$\{(\w+)[^}]*\}", TEXT)) == SECRETS
    assert {secret["environment"] for secret in COMPOSE["secrets"].values()} <= SECRETS
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if key.endswith(("PASSWORD", "TOKEN", "DATABASE_URL")):
                assert "${" in value
    assert all(f"{secret}=…" in TEXT.partition("services:")[0] for secret in SECRETS)


def test_only_the_proxy_is_believed() -> None:
    trusted = SERVICES["service"]["environment"]["STRUCTGUARD_TRUSTED_PROXIES"]
    assert SERVICES["proxy"]["networks"] == {"edge": {"ipv4_address": trusted}}
    assert "ports" not in SERVICES["service"]
    assert set(SERVICES["service"]["networks"]) == {"inner", "edge"}


def test_the_stores_are_reached_from_inside_only_and_forget_nothing() -> None:
    assert COMPOSE["networks"]["inner"]["internal"]
    for store in ("postgres", "redis"):
        assert SERVICES[store]["networks"] == ["inner"]
        assert SERVICES[store]["volumes"]
    assert " ".join(SERVICES["redis"]["command"]).endswith("--maxmemory-policy noeviction")
    assert "--appendonly yes" in " ".join(SERVICES["redis"]["command"])


def test_the_file_for_gpus_changes_the_worker_only() -> None:
    more = yaml.safe_load((ROOT / "docker" / "gpu.yml").read_text())["services"]
    [device] = more.pop("worker")["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"], more) == ("nvidia", ["gpu"], {})


@pytest.mark.parametrize("name", ["service", "worker"])
def test_images_are_made_of_files_that_exist_and_do_not_run_as_root(name: str) -> None:
    dockerfile = (ROOT / "docker" / f"{name}.Dockerfile").read_text()
    copied = [
        line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY") and "--from" not in line
    ]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    assert "\nUSER 10001\n" in dockerfile


def test_the_image_of_the_service_has_no_torch() -> None:
    assert "[worker]" not in (ROOT / "docker" / "service.Dockerfile").read_text()
