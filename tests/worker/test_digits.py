import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from service.registry.models.architectures import Architecture, expected_tensors
from service.registry.models.checkpoint_files import inspect
from service.registry.models.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """What `python -m worker.digits` writes, and what it prints."""
    folder = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-m", "worker.digits", folder, "--seed", "0"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return folder, json.loads(done.stdout)


def test_the_network_knows_its_images_and_reads_others(digits):
    """By heart, because there must be something to forget; and well, because that must survive."""
    _, printed = digits
    assert printed["train_accuracy"] >= 99.5
    assert printed["test_accuracy"] >= 97


def test_the_files_are_what_the_service_takes(digits):
    """A checkpoint that fits, evaluation sets, and pictures with their labels."""
    folder, _ = digits
    described = json.loads((folder / "model.json").read_text())
    size = Preprocessing.model_validate(described["preprocessing"]).size
    architecture = Architecture.model_validate(described["architecture"])
    inspect(folder / "model.safetensors", expected_tensors(architecture, num_classes=10, image_size=size))
    for name, count in (("test", 397), ("retain", 500)):
        with np.load(folder / f"{name}.npz") as arrays:
            assert arrays["images"].shape == (count, 8, 8, 1)
            assert arrays["images"].dtype == np.uint8
            assert arrays["labels"].shape == (count,)


def test_the_images_to_forget_are_in_no_evaluation_set(digits):
    """Forgetting them would otherwise count against the model."""
    folder, _ = digits
    pictures = sorted((folder / "forget").glob("*.png"))
    forgotten = {np.asarray(Image.open(path)).tobytes() for path in pictures}
    kept = {image.tobytes() for name in ("test", "retain") for image in np.load(folder / f"{name}.npz")["images"]}
    assert len(pictures) == len(forgotten) == len(json.loads((folder / "forget/labels.json").read_text())) == 16
    assert not forgotten & kept
