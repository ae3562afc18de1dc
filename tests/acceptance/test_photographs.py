"""Sixteen real photographs leave a published ResNet-20, with CLIP anchors that somebody else computed."""

import io
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks import cifar10
from tests.acceptance.conftest import Stack
from tests.real_data import needs_cifar10

CARD = {
    "architecture": {"name": "cifar_resnet20"},
    "classes": cifar10.CLASSES,
    "preprocessing": {"size": [32, 32], "mean": cifar10.MEAN, "std": cifar10.STD},
}


@needs_cifar10
@pytest.mark.minutes
def test_sixteen_photographs_are_forgotten_and_the_rest_stays(embedded: Stack, tmp_path: Path) -> None:
    with embedded.client() as client:
        register(client, tmp_path)
        anchors = client.post(
            "/v1/anchor-sets",
            data={"metadata": json.dumps({"classes": cifar10.CLASSES})},
            files={"anchors": cifar10.CLIP.read_bytes()},
        ).raise_for_status()
        options = {"encoder": "precomputed", "anchor_set": anchors.json()["id"], "scope": "exact"}
        request = client.post(
            "/v1/deletion-requests",
            data={"metadata": json.dumps({"model": "cifar10", "options": options})},
            files={"images": npz(*cifar10.forget_set(16, seed=100))},
        ).raise_for_status()

        ended = embedded.finish(client, request.headers["location"])

        assert ended["state"] == "completed", (ended["reason"], embedded.logs()[-3000:])
        before, after = ended["metrics"]["before"], ended["metrics"]["after"]
        assert after["forget_accuracy"] == 100
        assert before["test_accuracy"] == pytest.approx(91.7, abs=1.5)  # published: 91.73 on all 10,000
        assert before["test_accuracy"] - after["test_accuracy"] <= 2
        stored = [client.get(f"/v1/models/cifar10/versions/{n}").json()["metrics"]["test_accuracy"] for n in (1, 2)]
        assert stored == [before["test_accuracy"], after["test_accuracy"]]


def register(client: httpx.Client, tmp_path: Path) -> None:
    """The published checkpoint, through the converter, and a thousand test images."""
    converted = tmp_path / "resnet20.safetensors"
    subprocess.run([sys.executable, "-m", "worker.exchange.convert", str(cifar10.RESNET20), str(converted)], check=True)
    client.post("/v1/models", json={"name": "cifar10"}).raise_for_status()
    client.post(
        "/v1/models/cifar10/versions",
        data={"metadata": json.dumps(CARD)},
        files={"checkpoint": converted.read_bytes()},
    ).raise_for_status()
    client.post(
        "/v1/models/cifar10/evaluation-sets",
        data={"metadata": json.dumps({"name": "test-1000", "kind": "test"})},
        files={"images": npz(*cifar10.first_test_images(1000))},
    ).raise_for_status()


def npz(images: np.ndarray, labels: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, images=images, labels=labels)
    return file.getvalue()
