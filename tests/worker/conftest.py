import pytest

from service.registry.storage.artifacts import Artifacts
from worker.settings import WorkerSettings


@pytest.fixture
def settings(tmp_path):
    return WorkerSettings(data_dir=tmp_path / "data", device="cpu")


@pytest.fixture
def artifacts(settings):
    return Artifacts(settings.data_dir)
