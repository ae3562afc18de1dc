"""Versions go to a real MLflow server and come back, by its own client."""

import os
import subprocess
import sys
import time

import httpx
import pytest

from service.cli import mlflow_registry
from service.cli.client import Client
from service.cli.processes import stop
from service.cli.stack import free_port

_READY_WITHIN = 150.0  # seconds; five on a machine with nothing else to do


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    """Its address. The database is SQLite, and the server keeps the files, as for a team."""
    folder, address = tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
        *(
            "--backend-store-uri",
            f"sqlite:///{folder / 'mlflow.sqlite'}",
            "--artifacts-destination",
            str(folder / "files"),
        ),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | quiet, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _READY_WITHIN
        while not _is_up(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        stop([process])


def _is_up(address):
    try:
        return httpx.get(f"{address}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def mlflow(mlflow_server, monkeypatch):
    """Asks the server's own REST API."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)

    def ask(path, **query):
        answer = httpx.get(f"{mlflow_server}/api/2.0/mlflow/{path}", params=query)
        answer.raise_for_status()
        return answer.json()

    return ask


def test_a_version_goes_to_mlflow_and_comes_back(structguard, register, server, mlflow, files, tmp_path):
    """With its digest and origin as tags and an alias; the same bytes come back, by number and by alias."""
    sent = register("faces", "--json").document["version"]

    there = structguard("models", "export", "faces", "models:/Faces@champion", "--server", server, "--json")
    by_alias = structguard("models", "import", "models:/Faces@champion", "--server", server, "--json")
    by_number = mlflow_registry.fetch("models:/Faces/1", tmp_path)

    assert there.code == 0, there.err
    assert there.document["mlflow"] == "models:/Faces/1"
    made = mlflow("registered-models/alias", name="Faces", alias="champion")["model_version"]
    assert made["version"] == "1"
    assert {tag["key"]: tag["value"] for tag in made["tags"]} == {
        "structguard.model": "faces",
        "structguard.number": "1",
        "structguard.sha256": sent["sha256"],
        "structguard.method": "registered",
    }
    assert by_alias.code == 0, by_alias.err
    assert by_alias.document["sha256"] == sent["sha256"]
    assert (by_number / "model.safetensors").read_bytes() == (files / "model.safetensors").read_bytes()
    assert (by_alias.document["model"], by_alias.document["number"]) == ("faces", 2)
    with Client(server) as client:
        back = client.get("/v1/models/faces/versions/2")
    assert back["tags"] == {"imported-from": "models:/Faces@champion"}
    assert back["preprocessing"] == sent["preprocessing"]


def test_what_was_measured_goes_along(mlflow, tmp_path):
    """As metrics of a run, to compare, and as tags of the version, to look at."""
    (tmp_path / "config.json").write_text("{}")
    version = {"model": "faces", "number": 2, "sha256": "0" * 64, "method": "structguard", "gate": "passed"}
    metrics = {"forget_accuracy": 100.0, "test_accuracy": None, "retrieval": {"retained": None}}

    uri = mlflow_registry.publish("measured", None, version | {"metrics": metrics}, tmp_path)

    made = mlflow("model-versions/get", name="measured", version=uri.rpartition("/")[2])["model_version"]
    tags = {tag["key"]: tag["value"] for tag in made["tags"]}
    assert (tags["structguard.gate"], tags["structguard.forget_accuracy"]) == ("passed", "100.0")
    measured = mlflow("runs/get", run_id=made["run_id"])["run"]["data"]["metrics"]
    assert {metric["key"]: metric["value"] for metric in measured} == {"forget_accuracy": 100.0}


def test_what_mlflow_refuses_is_said(structguard, register, server, mlflow):
    """In its own words, and nothing is registered."""
    register("refused-there")
    missing = structguard("models", "import", "models:/nobody/1", "--server", server)
    numbered = structguard("models", "export", "refused-there", "models:/faces/7", "--server", server)

    assert missing.code == 1
    assert "cannot be fetched from MLflow" in missing.err
    assert numbered.code == 1
    assert "numbers versions itself" in numbered.err
    with Client(server) as client:
        assert "nobody" not in {model["name"] for model in client.get("/v1/models", limit=100)["items"]}


def test_without_an_address_there_is_no_mlflow(structguard, server, monkeypatch):
    """Its client would make a database of its own in the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ran = structguard("models", "import", "models:/faces/1", "--server", server)
    assert ran.code == 1
    assert "MLFLOW_TRACKING_URI" in ran.err
