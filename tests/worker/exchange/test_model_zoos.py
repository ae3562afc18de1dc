"""Published models are fetched by the libraries' own rules; here from a hub on this machine, and from torch's cache."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from worker.exchange import model_zoos
from worker.exchange.imported_model import Unsupported

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository, folder):
    """What the hub answers about one repository that holds the files of a folder."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    pages = {f"/{repository}/resolve/{COMMIT}/{name}": content for name, content in files.items()}
    about = {"id": repository, "sha": COMMIT}
    tree = [{"type": "file", "path": name, "size": len(content), "oid": ""} for name, content in files.items()]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            content = pages.get(path)
            if path.startswith(f"/api/models/{repository}/"):
                content = json.dumps(tree if "/tree/" in path else about).encode()
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET  # noqa: N815  (the name that the server looks for)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_model_of_the_hub_comes_with_what_its_config_says(tmp_path):
    """The bytes are those of the hub, so that the digest that is shown there is the one that is registered."""
    (tmp_path / "out").mkdir()
    save_for_hf(timm.create_model("resnet18"), tmp_path / "there", safe_serialization=True)
    with hub("timm/resnet18.a1_in1k", tmp_path / "there") as address:
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-P", "-m", "worker.exchange", "import", "timm/resnet18", str(tmp_path / "out")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    there, here = (folder / "model.safetensors" for folder in (tmp_path / "there", tmp_path / "out"))
    assert there.read_bytes() == here.read_bytes()
    said = json.loads((tmp_path / "out" / "model.json").read_text())
    assert said["architecture"]["name"] == "timm/resnet18"
    assert (said["preprocessing"]["crop_pct"], said["preprocessing"]["interpolation"]) == (0.95, "bicubic")
    assert (len(said["classes"]), said["classes"][0]) == (1000, "tench")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Writes published weights to where torch looks for them before it downloads anything."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def put(weights, state):
        folder = tmp_path / "torch" / "hub" / "checkpoints"
        folder.mkdir(parents=True)
        torch.save(state, folder / weights.url.rpartition("/")[2])

    return put


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_a_model_of_torchvision_comes_with_its_classes_and_transforms(cache, work):
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    network = torchvision.models.resnet18()
    cache(weights, network.state_dict())

    found = model_zoos.torchvision_model("resnet18", None, work)

    assert torch.equal(load_file(found.checkpoint)["fc.weight"], network.fc.weight)
    assert found.description == {
        "architecture": {"name": "torchvision/resnet18", "in_channels": 3},
        "classes": weights.meta["categories"],
        "preprocessing": {
            "size": [224, 224],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "resize": "crop",
            "crop_pct": 0.875,
            "interpolation": "bilinear",
        },
    }


def test_weights_that_are_older_than_the_code_get_the_names_of_today(cache, work):
    """DenseNet's were published with a dot more."""
    network = torchvision.models.densenet121()
    older = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in name else name: tensor
        for name, tensor in network.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in older
    cache(torchvision.models.DenseNet121_Weights.IMAGENET1K_V1, older)

    found = model_zoos.torchvision_model("densenet121.IMAGENET1K_V1", None, work)

    assert load_file(found.checkpoint).keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ("source", "named"), [("timm/resnet18", False), ("timm/resnet18.a1_in1k", True), ("torchvision/resnet18", False)]
)
def test_a_checkpoint_of_ones_own_is_no_imagenet(tmp_path, work, source, named):
    """Only a tag says that the weights are the published ones, whose classes are known."""
    save_file({"fc.bias": torch.ones(3)}, tmp_path / "mine.safetensors")
    library, _, name = source.partition("/")
    find = model_zoos.timm_model if library == "timm" else model_zoos.torchvision_model

    found = find(name, tmp_path / "mine.safetensors", work)

    assert load_file(found.checkpoint)["fc.bias"].tolist() == [1, 1, 1]
    assert found.description["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert ("classes" in found.description) is named


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (model_zoos.timm_model, "resnet17", "Did you mean timm/resnet18"),
        (model_zoos.timm_model, "resnet18.nonsense", "no weights"),
        (model_zoos.torchvision_model, "resnet17", "Did you mean torchvision/resnet18"),
        (model_zoos.torchvision_model, "resnet18.V9", "IMAGENET1K_V1"),
    ],
)
def test_a_name_that_is_none_is_refused_with_those_that_are(work, find, name, message):
    with pytest.raises(Unsupported, match=message):
        find(name, None, work)
