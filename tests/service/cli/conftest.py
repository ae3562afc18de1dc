import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from service.cli.client import API_KEY
from service.cli.commands import app
from service.cli.processes import start, stop
from service.cli.stack import first_key, free_port, migrate, url, wait_until_ready
from service.registry.models.architectures import Architecture, expected_tensors
from service.registry.settings import RegistrySettings
from tests.conftest import database

__all__ = ["database"]  # one that no service works on, unless the test starts one


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything beside it is an error."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("STRUCTGUARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def structguard():
    """Runs the command line in this process."""

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@dataclass(frozen=True)
class Server:
    """A service that runs."""

    address: str
    key: str


@pytest.fixture(scope="session")
def _server(tmp_path_factory):
    """The real service, without a worker: what is sent stays queued."""
    data, port = tmp_path_factory.mktemp("service"), free_port()
    migrate(RegistrySettings(data_dir=data))
    key = first_key(RegistrySettings(data_dir=data))
    settings = {
        "DATA_DIR": data,
        "PORT": port,
        "WEBHOOK_PRIVATE": "true",
        "MANIFEST_SCHEMES": "file",
        "MANIFEST_ROOT": tmp_path_factory.getbasetemp(),
    }
    environment = {**os.environ, **{f"STRUCTGUARD_{name}": str(value) for name, value in settings.items()}}
    process = start("service", environment, data / "log")
    address = url("127.0.0.1", port)
    wait_until_ready(address, process, data / "log")
    yield Server(address, key)
    stop([process])


@pytest.fixture
def server(_server, monkeypatch):
    """The service's address; its key is in the environment."""
    monkeypatch.setenv(API_KEY, _server.key)
    return _server.address


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A checkpoint for two classes, an evaluation set, anchors, and two pictures."""
    folder = tmp_path_factory.mktemp("files")
    expected = expected_tensors(Architecture(name="cifar_resnet8"), num_classes=2, image_size=(8, 8))
    weights = {name: np.zeros(want.shape, np.int64 if want.integer else np.float32) for name, want in expected.items()}
    save_file(weights, folder / "model.safetensors")
    pixels = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(folder / "holdout.npz", images=pixels, labels=np.array([0, 1, 0, 1]))
    np.savez(folder / "anchors.npz", emb=np.eye(2, dtype=np.float32), names=np.array(["cat", "dog"]))
    (folder / "classes.txt").write_text("cat\ndog\n")
    for at, shade in enumerate((10, 200)):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(folder / f"erika-mustermann-{at}.png")
    return folder


@pytest.fixture
def register(structguard, server, files):
    """Registers a version of the model of this name."""

    def run(name, *more, classes="cat,dog"):
        return structguard(
            *("register", name, "--architecture", "cifar_resnet8", "--checkpoint", files / "model.safetensors"),
            *("--classes", classes, "--size", "8x8", "--mean", "0,0,0", "--std", "1,1,1", "--server", server, *more),
        )

    return run


@pytest.fixture
def pictures(files):
    """Two images to forget."""
    return sorted(files.glob("*.png"))
