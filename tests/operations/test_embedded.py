"""The worker that polls has its own port for Prometheus, and logs as it is told to."""

import json
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.registry.storage import schema
from service.registry.storage.database import Database
from tests.acceptance.conftest import Stack, free_port


def test_an_idle_worker_says_so_and_one_whose_port_is_taken_works_all_the_same(tmp_path: Path) -> None:
    """Without a GPU there are no GPUs, and nothing else is missing."""
    database = Database(f"sqlite:///{tmp_path / 'registry.sqlite'}")
    schema.upgrade(database)
    database.close()
    port = free_port()
    environment = {
        "STRUCTGUARD_DATA_DIR": str(tmp_path),
        "STRUCTGUARD_LOG_FORMAT": "json",
        "STRUCTGUARD_METRICS_PORT": str(port),
    }
    stack = Stack("", tmp_path, environment, "")
    try:
        stack.start_worker()
        answers: list[httpx.Response] = []
        stack.wait_for(lambda: answers.append(httpx.get(f"http://127.0.0.1:{port}/metrics")) or answers, seconds=60)
        stack.start_worker()
        stack.wait_for(lambda: stack.logs().count("is ready") == 2, seconds=60)
    finally:
        stack.stop()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answers[0].text)
        for sample in family.samples
    }
    assert found["structguard_worker_phase", "idle"] == 1
    assert found["structguard_worker_attempts_total", "lost"] == 0
    assert not [key for key in found if key[0].startswith("structguard_gpu")]
    lines = [json.loads(line) for line in stack.logs().splitlines() if line]
    assert f"no metrics on port {port}: Address already in use" in {line["message"] for line in lines}
