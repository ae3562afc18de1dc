"""The README does not rot; its walk-through is executed by tests/acceptance/test_walkthrough.py."""

import re
from pathlib import Path

import pytest

from service.settings import ServiceSettings
from worker.settings import WorkerSettings

README = (Path(__file__).parents[1] / "README.md").read_text()
SETTINGS = sorted(ServiceSettings.model_fields.keys() | WorkerSettings.model_fields.keys())


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `STRUCTGUARD_{name.upper()}` |" in README


def test_every_documented_setting_exists() -> None:
    assert {name.lower() for name in re.findall(r"`STRUCTGUARD_([A-Z_]+)`", README)} == set(SETTINGS)
