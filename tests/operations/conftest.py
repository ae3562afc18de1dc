"""A running product that is watched: by a real Prometheus, by a receiver of traces, and by its log."""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from service.registry.models.preprocessing import Preprocessing
from tests.acceptance.conftest import Stack, distributed, free_port, running
from tests.operations.otlp_receiver import Receiver, receiving
from tests.service.given import npz
from worker.inputs.images import pixels
from worker.networks.cifar_resnet import cifar_resnet

ROOT = Path(__file__).parents[2]
TOKEN = "sesame"
TRACES = ("0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736")


@dataclass
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return answer["data"]["result"]


@dataclass
class Watched:
    """Two requests in one trace each have shared a run; a third waits for approval."""

    stack: Stack
    prometheus: Prometheus
    receiver: Receiver
    requests: list[dict[str, Any]]

    @property
    def job(self) -> str:
        """The identifier of the run."""
        return self.requests[0]["links"]["job"].rpartition("/")[2]


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    data = folder / "data"
    data.mkdir()
    port = free_port()
    with receiving() as receiver, distributed() as (database, environment):
        environment |= {
            "STRUCTGUARD_LOG_FORMAT": "json",
            "STRUCTGUARD_METRICS_TOKEN": TOKEN,
            "STRUCTGUARD_METRICS_PORT": str(port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",  # milliseconds
            "PYTHONPATH": str(Path(__file__).parent / "stand_in_nvml"),
        }
        with running(data, database, **environment) as stack, scraping(folder, stack, port) as prometheus:
            with stack.client() as client:
                links = ask(client)
                worker = ("--app", "tests.operations.quick_worker", "worker", "--concurrency", "1")
                stack.start("celery", "--quiet", *worker)
                requests = [stack.finish(client, link) for link in links]
            yield Watched(stack, prometheus, receiver, requests)


def ask(client: httpx.Client) -> list[str]:
    """Register models and ask for three deletions; the links of those that will run."""
    classes = ["cat", "dog", "fox"]
    preprocessing = Preprocessing(size=(8, 8), mean=[0.5], std=[0.25])
    version = {
        "architecture": {"name": "cifar_resnet8", "in_channels": 1},
        "classes": classes,
        "preprocessing": preprocessing.model_dump(mode="json"),
    }
    torch.manual_seed(0)
    network = cifar_resnet(8, num_classes=3, in_channels=1).eval()
    noise = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)) for seed in range(8)]
    with torch.no_grad():
        seen = network(torch.stack([pixels(image, preprocessing) for image in noise]) * 4 - 2).argmax(1).tolist()
    images = [("images", ("image", png(image))) for image in noise]

    def post(path: str, metadata: Any, files: Any, **headers: str) -> httpx.Response:
        answer = client.post(path, data={"metadata": httpx.Request("POST", "x:", json=metadata).content.decode()},
                             files=files, headers=headers)  # fmt: skip
        return answer.raise_for_status()

    for name, approval in (("pets", False), ("careful", True)):
        policy = {"max_test_accuracy_drop": 100, "max_collapse": 2}
        body = {"name": name, "approval_required": approval, "policy": policy}
        client.post("/v1/models", json=body).raise_for_status()
        post(f"/v1/models/{name}/versions", version, {"checkpoint": save(network.state_dict())})
        moved = {"version": 1, "follows_gate": True}
        client.put(f"/v1/models/{name}/aliases/production", json=moved).raise_for_status()
    for kind in ("test", "retain"):
        post("/v1/models/pets/evaluation-sets", {"name": kind, "kind": kind, "labels": seen[2:]}, images[2:])
    anchors = {"anchors": npz(emb=np.eye(3, dtype=np.float32), names=np.array(classes))}
    anchor_set = post("/v1/anchor-sets", {"classes": classes}, anchors).json()["id"]
    options = {"scope": "exact", "encoder": "precomputed", "anchor_set": anchor_set}
    asked = []
    for at, trace in enumerate(TRACES):
        wanted = {"model": "pets", "labels": [seen[at]], "options": options}
        told = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "tracestate": "jane=doe", "baggage": "jane=doe"}
        asked.append(post("/v1/deletion-requests", wanted, [images[at]], **told).headers["location"])
    post("/v1/deletion-requests", {"model": "careful", "labels": [1]}, images[:1])
    return asked


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@contextmanager
def scraping(folder: Path, stack: Stack, worker_port: int) -> Iterator[Prometheus]:
    """A Prometheus with the configuration that is shipped, but for where and how often it looks."""
    program = shutil.which("prometheus")
    if program is None:
        if "CI" in os.environ:
            raise AssertionError("no prometheus")
        pytest.skip("no prometheus")
    shipped = ROOT / "docker" / "prometheus" / "prometheus.yml"
    config = yaml.safe_load(shipped.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(shipped.parent / name) for name in config["rule_files"]]
    (folder / "token").write_text(TOKEN)
    targets = {
        "structguard-service": stack.url.removeprefix("http://"),
        "structguard-worker": f"127.0.0.1:{worker_port}",
    }
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(folder / "token")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://{address}"
        stack.wait_for(lambda: httpx.get(f"{url}/-/ready", timeout=5).status_code == 200, seconds=60)
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(timeout=30)
