"""The production topology, as far as it can be checked without a Docker engine."""

from pathlib import Path

import pytest
import yaml

from service.settings import ServiceSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SETTINGS = {f"STRUCTGUARD_{name.upper()}" for name in ServiceSettings.model_fields | WorkerSettings.model_fields}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_process_is_given_settings_that_exist(name: str) -> None:
    given = {key for key in COMPOSE["services"][name].get("environment", {}) if key.startswith("STRUCTGUARD_")}
    assert given <= SETTINGS


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_process_waits_for_processes_that_exist(name: str) -> None:
    assert COMPOSE["services"][name].get("depends_on", {}).keys() <= COMPOSE["services"].keys()


def test_no_password_stands_in_the_file() -> None:
    password = "${POSTGRES_PASSWORD:?put it into .env}"
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == password
    assert f":{password}@" in COMPOSE["x-structguard"]["STRUCTGUARD_DATABASE_URL"]


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
