"""Checkpoints as common training scripts write them."""

import argparse
import pathlib
import shutil
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from worker.exchange.convert import Ambiguous, NotAStateDict, convert


class Network(nn.Sequential):
    """A class of a training script."""


class Settings:
    """Another one."""

    def __init__(self):
        self.rate = 0.1


NETWORK = Network(OrderedDict(conv=nn.Conv2d(1, 4, 3), bn=nn.BatchNorm2d(4), fc=nn.Linear(4, 2)))
WEIGHTS = {name: tensor.clone() for name, tensor in NETWORK.state_dict().items()}
AVERAGE = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
ARGUMENTS = argparse.Namespace(model="resnet18", lr=0.1, data_dir="/x", output=pathlib.PurePosixPath("/y"))
OPTIMIZER = torch.optim.SGD(NETWORK.parameters(), lr=0.1, momentum=0.9)


def prefixed(prefix, weights=WEIGHTS):
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


ACCEPTED = {
    "timm.pth.tar": {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": WEIGHTS,
        "optimizer": OPTIMIZER.state_dict(),
        "args": ARGUMENTS,
        "version": 2,
        "metric": 81.2,
    },
    "lightning.ckpt": {
        "epoch": 1,
        "state_dict": prefixed("model."),
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {"Checkpoint": {"best": torch.tensor(1.0), "path": ""}},
        "optimizer_states": [OPTIMIZER.state_dict()],
    },
    "lightning_compiled.ckpt": {"state_dict": prefixed("net._orig_mod.")},
    "compiled.pt": prefixed("_orig_mod."),
    "ddp_compiled.pt": prefixed("module._orig_mod."),
    "compiled_ddp.pt": prefixed("_orig_mod.module.module."),
    "compiled_part.pt": {name.replace("bn.", "bn._orig_mod."): tensor for name, tensor in WEIGHTS.items()},
    "swa.pt": AveragedModel(NETWORK).state_dict(),
    "kuangliu.pth": {"net": prefixed("module."), "acc": 91.2, "epoch": 7},
    "numpy_scalar.pth.tar": {"state_dict": WEIGHTS, "best_acc1": np.float64(91.2), "epoch": 3},
    "numpy_rng.pth": {"model": WEIGHTS, "rng": np.random.default_rng(0).integers(9, size=624), "state": {1, 2}},
    "own_class.pth": {"model": WEIGHTS, "config": Settings(), "path": pathlib.Path("x")},
    "imagenet_example.pth.tar": {"state_dict": WEIGHTS, "best_acc1": torch.tensor(91.2), "arch": "resnet20"},
    "parameters.pt": {"state_dict": {n: nn.Parameter(t) if t.is_floating_point() else t for n, t in WEIGHTS.items()}},
    "thop.pt": {"state_dict": WEIGHTS | {"total_ops": torch.tensor(1.0), "conv.total_params": torch.ones(1)}},
    "int32counter.pt": {n: t.int() if t.dtype == torch.int64 else t for n, t in WEIGHTS.items()},
    "channels_last.pt": {n: t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for n, t in WEIGHTS.items()},
}


def same(path, expected):
    weights = load_file(path)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert all(weights[name].dtype == tensor.dtype for name, tensor in expected.items())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_weights_come_out_under_the_names_of_the_network(tmp_path, name, legacy):
    torch.save(ACCEPTED[name], tmp_path / name, _use_new_zipfile_serialization=not legacy)
    convert(tmp_path / name, tmp_path / "out.safetensors")
    same(tmp_path / "out.safetensors", WEIGHTS)


def test_half_precision_stays(tmp_path):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in WEIGHTS.items()}
    torch.save(half, tmp_path / "half.pt")
    convert(tmp_path / "half.pt", tmp_path / "out.safetensors")
    same(tmp_path / "out.safetensors", half)


def test_what_is_left_out_is_said(tmp_path):
    """By the command, on its output."""
    torch.save(AveragedModel(NETWORK).state_dict(), tmp_path / "swa.pt")
    command = [sys.executable, "-m", "worker.exchange.convert", tmp_path / "swa.pt", tmp_path / "out.safetensors"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Left out, as these are no weights: n_averaged." in done.stdout


AMBIGUOUS = {
    "torchvision": (
        {
            "model": WEIGHTS,
            "args": ARGUMENTS,
            "model_ema": prefixed("module.", AVERAGE) | {"n_averaged": torch.tensor(1)},
        },
        "model",
        "model_ema",
    ),
    "timm": ({"state_dict": WEIGHTS, "state_dict_ema": AVERAGE, "epoch": 1}, "state_dict", "state_dict_ema"),
    "lightning": (
        {"state_dict": prefixed("model.") | prefixed("ema_model.", AVERAGE)},
        "state_dict.model",
        "state_dict.ema_model",
    ),
    "averaging": (
        {
            "state_dict": prefixed("net."),
            "current_model_state": prefixed("net.", AVERAGE),
            "averaging_state": {"n_averaged": torch.tensor(1)},
        },
        "state_dict",
        "current_model_state",
    ),
}


@pytest.mark.parametrize("script", AMBIGUOUS)
def test_of_several_sets_of_weights_one_has_to_be_chosen(tmp_path, script):
    document, raw, average = AMBIGUOUS[script]
    source, target = tmp_path / "a.pt", tmp_path / "out.safetensors"
    torch.save(document, source)

    with pytest.raises(Ambiguous) as refused:
        convert(source, target)
    assert raw in str(refused.value)
    assert f"{average} (" in str(refused.value)
    assert "--weights NAME" in str(refused.value)
    assert not target.exists()
    with pytest.raises(Ambiguous, match=rf"no weights of this name. It holds .*\b{raw} \({len(WEIGHTS)} tensors\)"):
        convert(source, target, "ema")

    for name, expected in ((raw, WEIGHTS), (average, AVERAGE)):
        convert(source, target, name)
        same(target, expected)


def test_a_whole_network_is_refused_with_the_way_out(tmp_path):
    for name, document in (("alone.pt", NETWORK), ("beside.pt", {"epoch": 1, "model": NETWORK})):
        torch.save(document, tmp_path / name)
        with pytest.raises(NotAStateDict, match=r"test_training_checkpoints.Network.*model\.state_dict\(\)") as refused:
            convert(tmp_path / name, tmp_path / "out.safetensors")
        assert "\n" not in str(refused.value)
    assert "epoch: int, model: " in str(refused.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"state_dict": {"a": 1}, "\x1b[2J": "secret"}, r"state_dict: dict of 1, \x1b[2J: str."),
        ({f"key{i}": "secret" for i in range(20)}, "key11: str and 8 more."),
        (["secret"], "It holds list of 1."),
        ({}, "It holds an empty dictionary."),
        ({"averaging_state": {"n_averaged": torch.tensor(1)}}, "averaging_state: dict of 1."),
    ],
)
def test_a_refusal_names_what_is_there(tmp_path, document, message):
    """Keys and types, never values."""
    torch.save(document, tmp_path / "a.pt")
    with pytest.raises(NotAStateDict) as refused:
        convert(tmp_path / "a.pt", tmp_path / "out.safetensors")
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)


class Call:
    """Writes a file when it is unpickled as any other program would."""

    def __init__(self, source, target):
        self.files = source, target

    def __reduce__(self):
        return shutil.copyfile, self.files


def test_what_a_pickle_names_is_neither_imported_nor_called(tmp_path):
    torch.save({"model": WEIGHTS, "args": Call(__file__, str(tmp_path / "called"))}, tmp_path / "a.pt")
    torch.load(tmp_path / "a.pt", weights_only=False)
    (tmp_path / "called").unlink()

    convert(tmp_path / "a.pt", tmp_path / "out.safetensors")

    same(tmp_path / "out.safetensors", WEIGHTS)
    assert not (tmp_path / "called").exists()
