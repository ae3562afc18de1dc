"""What a worker finds to compute with, without fetching anything."""

import json
import os
import subprocess
import sys

import pytest

from worker import equipment
from worker.settings import WorkerSettings


def report(environment):
    """What the program prints."""
    command = [sys.executable, "-m", "worker.equipment"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_processor_computes():
    found = equipment.device("cpu")
    assert (found["device"], found["works"]) == ("cpu", True)


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_does_not(name):
    assert equipment.device(name)["works"] is False


def test_the_encoder_of_the_package_is_at_hand():
    assert equipment.encoder(WorkerSettings()) == {"encoder": "minilm", "known": True, "at_hand": True}


def test_a_file_of_weights_is_at_hand_when_it_is_there(tmp_path):
    file = tmp_path / "weights.pt"
    file.touch()
    found = equipment.encoder(WorkerSettings(encoder="openclip", openclip_weights=str(file)))
    assert (found["known"], found["at_hand"]) == (True, True)


def test_weights_of_the_hub_that_are_not_here_are_not_fetched(tmp_path):
    """The address of the hub that it is given is nobody's."""
    hub = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:1"}
    found = report(hub | {"STRUCTGUARD_ENCODER": "openclip"})["encoder"]
    assert (found["known"], found["at_hand"]) == (True, False)


def test_a_setting_that_cannot_be_is_named():
    found = report({"STRUCTGUARD_POLL_INTERVAL": "now"})
    assert found["wrong"] == ["STRUCTGUARD_POLL_INTERVAL"]
    assert "device" not in found
