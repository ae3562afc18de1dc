"""Sixteen real photographs leave a published ResNet-20, with CLIP anchors that somebody else computed."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from tests.acceptance.conftest import Stack

DATA = Path(os.environ.get("STRUCTGUARD_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CARD = {
    "architecture": {"name": "cifar_resnet20"},
    "classes": CLASSES,
    "preprocessing": {"size": [32, 32], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"CIFAR-10 is not at {DATA}; set STRUCTGUARD_DATA")


def test_sixteen_photographs_are_forgotten_and_the_rest_stays(embedded: Stack, tmp_path: Path) -> None:
    with embedded.client() as client:
        register(client, tmp_path)
        anchors = client.post(
            "/v1/anchor-sets",
            data={"metadata": json.dumps({"classes": CLASSES})},
            files={"anchors": clip_anchors().getvalue()},
        ).raise_for_status()
        options = {"encoder": "precomputed", "anchor_set": anchors.json()["id"], "scope": "exact"}
        request = client.post(
            "/v1/deletion-requests",
            data={"metadata": json.dumps({"model": "cifar10", "options": options})},
            files={"images": forget_set(16, seed=100).getvalue()},
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
    """The published checkpoint, through the converter, and two thousand test images."""
    converted = tmp_path / "resnet20.safetensors"
    published = DATA / "weights" / "resnet20-12fca82f.th"
    subprocess.run([sys.executable, "-m", "worker.convert", str(published), str(converted)], check=True)
    client.post("/v1/models", json={"name": "cifar10"}).raise_for_status()
    client.post(
        "/v1/models/cifar10/versions",
        data={"metadata": json.dumps(CARD)},
        files={"checkpoint": converted.read_bytes()},
    ).raise_for_status()
    client.post(
        "/v1/models/cifar10/evaluation-sets",
        data={"metadata": json.dumps({"name": "test-2000", "kind": "test"})},
        files={"images": npz(decoded(DATA / "cifar10" / "test.npz", range(2000))).getvalue()},
    ).raise_for_status()


def forget_set(k: int, *, seed: int) -> io.BytesIO:
    """Drawn as the data's README says, over all four shards in their order."""
    chosen = torch.randperm(50_000, generator=torch.Generator().manual_seed(seed))[:k].tolist()
    shards = [DATA / "cifar10" / f"train-{n}.npz" for n in range(4)]
    return npz(pair for at in chosen for pair in decoded(shards[at // 12_500], [at % 12_500]))


def decoded(shard: Path, indices):
    with np.load(shard) as z:
        webp, offsets, labels = z["webp"], z["offsets"], z["labels"]
    for i in indices:
        yield Image.open(io.BytesIO(webp[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB"), int(labels[i])


def npz(pairs) -> io.BytesIO:
    images, labels = zip(*pairs, strict=True)
    file = io.BytesIO()
    np.savez(file, images=np.stack([np.asarray(image) for image in images]), labels=np.array(labels))
    file.seek(0)
    return file


def clip_anchors() -> io.BytesIO:
    """The embeddings as published, under the model's class names."""
    with np.load(DATA / "clip" / "clip_vitb32_text_cifar10.npz") as z:
        emb, names = z["emb"], [str(name).removeprefix("a ").removeprefix("an ") for name in z["names"]]
    file = io.BytesIO()
    np.savez(file, emb=emb, names=np.array(names))
    file.seek(0)
    return file
