"""Software of people who ask: until there is an answer, until the request has ended, and again when it failed."""

import io
import json
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from safetensors.numpy import save

from service.registry.models.architectures import Architecture, expected_tensors
from tests.faults.stand_in import REAL

_ENDED = {"completed", "needs_review", "cancelled", "rejected"}
NUMBERED = "request-"
_WITHDRAWN = 0.05  # share of the requests
_TRIES = 60  # before a request that is said to be in flight is given up
_PATIENCE = 180.0  # seconds to bring to an end what has begun
_PAUSE = 1.0  # seconds between two looks at a request, and before sending again


class InFlight(Exception):
    """An API process died with this request in its hands, and its key stays reserved for minutes."""


@dataclass
class Clients:
    """Several of them, and what they were told."""

    urls: list[str]
    key: str
    seed: int
    closing: float  # when they begin with nothing new, on the monotonic clock
    accepted: dict[int, str] = field(default_factory=dict)  # path of each request, by its number
    abandoned: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)  # that the service has agreed to withdraw
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        self._replicas = [httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False) for url in self.urls]

    def register(self, models: int) -> list[str]:
        """Models that stand-in jobs work on."""
        shape = {"architecture": {"name": "cifar_resnet8", "in_channels": 1}, "classes": list("0123456789")}
        card = shape | {"preprocessing": {"size": [8, 8], "mean": [0.3], "std": [0.4]}}
        tensors = expected_tensors(Architecture(**shape["architecture"]), num_classes=10, image_size=(8, 8))
        checkpoint = save(
            {name: np.ones(t.shape, np.int64 if t.integer else np.float32) for name, t in tensors.items()}
        )
        names = [f"model-{at}" for at in range(models)]
        for name in names:
            self._register(name, card, checkpoint)
        return names

    def register_real(self, digits: Path) -> None:
        """The digits that `python -m worker.digits` has trained on."""
        self._register(
            REAL, json.loads((digits / "model.json").read_text()), (digits / "model.safetensors").read_bytes()
        )

    def _register(self, name: str, card: dict, checkpoint: bytes) -> None:
        http = self._replicas[0]  # nothing is broken yet
        http.post("/v1/models", json={"name": name, "policy": {"min_robust_forget_accuracy": 0}}).raise_for_status()
        files = {"metadata": (None, json.dumps(card)), "checkpoint": checkpoint}
        http.post(f"/v1/models/{name}/versions", files=files).raise_for_status()

    def ask(self, numbers: dict[int, str], digits: Path | None, threads: int) -> None:
        """Have these requests (number to model) answered and ended."""
        waiting = iter(sorted(numbers.items()))
        lock = threading.Lock()

        def work(thread: int) -> None:
            rng = random.Random(f"{self.seed}/{thread}")
            while time.monotonic() < self.closing:
                with lock:
                    number, model = next(waiting, (None, None))
                if number is None:
                    return
                try:
                    self._one(number, model, digits, rng)
                except InFlight:
                    self.abandoned.add(number)

        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work, thread) for thread in range(threads)]:
                done.result()

    def submit(self, number: int, model: str, digits: Path | None, rng: random.Random) -> str | None:
        """Ask until it is accepted; the request's path."""
        if model == REAL:
            assert digits is not None
            pictures = sorted((digits / "forget").glob("*.png"))[number % 4 :: 4]
            labels = [json.loads((digits / "forget" / "labels.json").read_text())[int(each.stem)] for each in pictures]
            images = [each.read_bytes() for each in pictures]
        else:
            labels, images = [number % 10], [_picture(rng)]
        # With the same options they may share a run, with a seed of their own they do not.
        seed = 0 if number % 2 else number
        metadata = {"model": model, "labels": labels, "options": {"seed": seed, "scope": "exact"}}
        metadata["regulation"] = f"{NUMBERED}{number}"  # by which it is recognised
        form = [("metadata", (None, json.dumps(metadata))), *(("images", ("x.png", each)) for each in images)]
        answer = self._call("POST", "/v1/deletion-requests", key=uuid.uuid4().hex, files=form)
        if answer is None:
            return None
        if answer.status_code == 409:
            raise InFlight
        assert answer.status_code == 202, answer.text
        self.accepted[number] = answer.headers["location"]
        return self.accepted[number]

    def _one(self, number: int, model: str, digits: Path | None, rng: random.Random) -> None:
        path = self.submit(number, model, digits, rng)
        if path is None:
            return
        if rng.random() < _WITHDRAWN:
            time.sleep(rng.uniform(0, 3))
            cancelled = self._call("POST", f"{path}/cancel")
            if cancelled is not None and cancelled.status_code == 202:
                self.withdrawn.add(number)
        while (seen := self._call("GET", path)) is not None:
            state = seen.json()["state"]
            if state in _ENDED:
                return
            if state == "failed":
                if number in self.withdrawn:
                    return
                self._call("POST", f"{path}/retry")
            self.stop.wait(_PAUSE)

    def _call(self, method: str, path: str, key: str | None = None, **arguments) -> httpx.Response | None:
        """Ask one replica after the other until there is an answer; `None` when there is no more time for one."""
        headers = {"Idempotency-Key": key} if key else {}
        tries = 0
        while time.monotonic() < self.closing + _PATIENCE:
            tries += 1
            try:
                answer = random.choice(self._replicas).request(method, path, headers=headers, **arguments)
            except httpx.TransportError:
                answer = None
            may_wait = key is not None and tries < _TRIES  # for an earlier try that is said to be in flight
            if answer is not None and answer.status_code < 500 and not (answer.status_code == 409 and may_wait):
                return answer
            self.stop.wait(_PAUSE)
        return None


def _picture(rng: random.Random) -> bytes:
    file = io.BytesIO()
    Image.frombytes("L", (8, 8), rng.randbytes(64)).save(file, "PNG")
    return file.getvalue()
