"""What evaluation measures of sets that hold images to forget."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from service.registry.models.preprocessing import Preprocessing
from service.registry.options import Options
from service.registry.tables import EvaluationSet, Model, Version
from worker.evaluation.evaluation import evaluate, probe_of
from worker.inputs.images import as_batch
from worker.inputs.inputs import Inputs, MeasuredSet
from worker.networks.cifar_resnet import cifar_resnet
from worker.settings import WorkerSettings
from worker.unlearning import SplitClassifier

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(size=(8, 8), mean=[0.5], std=[0.25])
SHOWN = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
FORGET = [(Image.fromarray(SHOWN[index]), index % 3) for index in range(4)]


def model(seed: int) -> SplitClassifier:
    torch.manual_seed(seed)
    network = cifar_resnet(8, num_classes=3, in_channels=1)
    return SplitClassifier(network, mean=PREPROCESSING.mean, std=PREPROCESSING.std).eval()


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """All that is measured before and after, of sets with these rows of `SHOWN`."""

    def measured_sets(**rows: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
        sets = []
        for kind, indices in rows.items():
            file = tmp_path / f"{kind}.npz"
            colours = SHOWN[indices][..., None].repeat(3, axis=3)  # the same picture as the grey one to forget
            np.savez(file, images=colours, labels=np.array(indices) % 3)
            sets.append(MeasuredSet(EvaluationSet(kind=kind, count=len(indices)), file, range(len(indices))))
        inputs = Inputs(
            options=Options(),
            model=Model(),
            base=Version(preprocessing=PREPROCESSING.model_dump(mode="json")),
            checkpoint=tmp_path,
            requests=[],
            sets=sets,
            references=[],
        ).without(image for image, _ in FORGET)
        base, unlearned = model(0), model(1)
        evaluation = evaluate(
            inputs,
            WorkerSettings(data_dir=tmp_path, evaluation_batch=16),
            CPU,
            base=base,
            unlearned=unlearned,
            forget=as_batch(FORGET, PREPROCESSING),
            own={},
            probe=probe_of(inputs, base, torch.eye(3), CPU),
            references=None,
        )
        return asdict(evaluation.before), asdict(evaluation.after)

    return measured_sets


def test_images_to_forget_in_a_set_change_nothing_that_is_measured(measured: Callable[..., Any]) -> None:
    """Whatever their labels and modes; how many there were is reported."""
    overlapping = measured(test=[0, *range(10, 80), 3, *range(80, 130), 1], retain=[*range(200, 230), 2])
    apart = measured(test=list(range(10, 130)), retain=list(range(200, 230)))
    for values in overlapping:
        assert values.pop("left_out") == {"test": 3, "retain": 1}
        assert values["membership"]["unseen"]["controls"] == 120
    for values in apart:
        assert values.pop("left_out") == {"test": 0, "retain": 0}
    assert overlapping == apart
    assert apart[1]["similarity"]["images"] == 120


def test_a_set_of_which_nothing_is_left_counts_as_not_there(measured: Callable[..., Any]) -> None:
    for values in measured(test=[2, 0, 2]):
        assert values["left_out"] == {"test": 3, "retain": None}
        measures = ("test_accuracy", "retain_accuracy", "collapse", "membership", "retrieval", "similarity")
        assert [values[name] for name in measures] == [None] * len(measures)
