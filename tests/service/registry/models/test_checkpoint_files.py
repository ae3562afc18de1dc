import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from service.registry.models.architectures import Architecture, ExpectedTensor, expected_tensors
from service.registry.models.checkpoint_files import CHUNK, CheckpointRejected, inspect

EXPECTED = expected_tensors(Architecture(name="cifar_resnet8"), num_classes=10, image_size=(32, 32))


def tensors() -> dict[str, np.ndarray]:
    return {name: np.zeros(want.shape, np.int64 if want.integer else np.float32) for name, want in EXPECTED.items()}


def write_bits(path, dtype, bits):
    """A file with one tensor `w`, written by hand because numpy has no bfloat16."""
    header = json.dumps({"w": {"dtype": dtype, "shape": [len(bits)], "data_offsets": [0, bits.nbytes]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes())


def rejection(path, expected=EXPECTED) -> CheckpointRejected:
    with pytest.raises(CheckpointRejected) as caught:
        inspect(path, expected)
    return caught.value


def test_a_fitting_file_is_accepted(tmp_path):
    """Every tensor there, all zero, metadata in the header."""
    save_file(tensors(), tmp_path / "a.safetensors", metadata={"format": "pt"})
    inspect(tmp_path / "a.safetensors", EXPECTED)


def test_counters_may_be_left_out(tmp_path):
    """Published weights from before torch 0.4.1 have none."""
    kept = {name: array for name, array in tensors().items() if not EXPECTED[name].optional}
    save_file(kept, tmp_path / "a.safetensors")
    inspect(tmp_path / "a.safetensors", EXPECTED)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_types_are_accepted(tmp_path, dtype):
    """Half and double precision are converted on loading."""
    save_file({n: a if a.dtype == np.int64 else a.astype(dtype) for n, a in tensors().items()}, tmp_path / "a")
    inspect(tmp_path / "a", EXPECTED)


def test_each_misfit_is_named(tmp_path):
    """Missing, unknown, wrong shape and wrong type, each with what was expected."""
    given = tensors()
    del given["bn1.weight"]
    given["fc.weight"] = np.zeros(3, np.float32)
    given["linear.weight"] = np.zeros((100, 64), np.float32)
    given["linear.bias"] = np.zeros(10, np.int32)
    given["bn1.num_batches_tracked"] = np.zeros((), np.float32)
    save_file(given, tmp_path / "a")

    error = rejection(tmp_path / "a")

    assert dict(error.tensors) == {
        "bn1.weight": "is missing",
        "bn1.num_batches_tracked": "has type F32, expected I64",
        "fc.weight": "is not part of the architecture",
        "linear.weight": "has shape (100, 64), expected (10, 64)",
        "linear.bias": "has type I32, expected F16 or BF16 or F32 or F64",
    }
    assert "5 tensors" in str(error)


def test_a_rejection_names_ten_tensors_at_most_and_shortens_their_names(tmp_path):
    """The names come from the file, so the answer must not grow with it."""
    save_file({f"{i}" * 5000: np.zeros(1, np.float32) for i in range(10)}, tmp_path / "a")

    error = rejection(tmp_path / "a", {})

    assert (error.total, len(error.tensors)) == (10, 10)
    assert all(len(name) == 200 for name, _ in error.tensors)
    save_file({}, tmp_path / "empty")
    assert len(rejection(tmp_path / "empty").tensors) == 10


@pytest.mark.parametrize(
    "damage",
    {
        "nothing": lambda _: b"",
        "only a length": lambda whole: whole[:8],
        "cut short": lambda whole: whole[:-1],
        "bytes after the end": lambda whole: whole + b"\0",
        "a pickle": lambda _: pickle.dumps({"weight": [1.0] * 1000}),
        "a zip": lambda _: b"PK\x03\x04" + bytes(1000),
        "not JSON": lambda whole: whole[:8] + b"!" + whole[9:],
        "a huge header": lambda whole: (1 << 40).to_bytes(8, "little") + whole[8:],
    }.values(),
)
def test_what_is_not_whole_safetensors_is_refused(tmp_path, damage):
    """Whatever a file is called, only its bytes count."""
    save_file(tensors(), tmp_path / "whole")
    (tmp_path / "a.safetensors").write_bytes(damage((tmp_path / "whole").read_bytes()))
    assert "not a" in str(rejection(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_single_weight_that_is_not_finite_is_found(tmp_path, dtype, value):
    """The last element of a tensor in the middle of the file."""
    given = tensors()
    given["layer2.0.conv1.weight"] = given["layer2.0.conv1.weight"].astype(dtype)
    given["layer2.0.conv1.weight"].flat[-1] = value
    save_file(given, tmp_path / "a")
    assert rejection(tmp_path / "a").tensors == [("layer2.0.conv1.weight", "holds NaN or infinite values")]


@pytest.mark.parametrize(("bits", "finite"), [(0x7F7F, True), (0xFF7F, True), (0x7F80, False), (0xFFC0, False)])
def test_bfloat16_is_judged_by_its_bits(tmp_path, bits, finite):
    """The largest number of either sign passes, infinity and NaN do not."""
    write_bits(tmp_path / "a", "BF16", np.array([0, bits], "<u2"))
    expected = {"w": ExpectedTensor((2,), integer=False, optional=False)}
    if finite:
        inspect(tmp_path / "a", expected)
    else:
        assert rejection(tmp_path / "a", expected).total == 1


def test_a_tensor_larger_than_a_chunk_is_read_to_its_end(tmp_path):
    """The value stands behind the first chunk."""
    count = CHUNK // 4 + 1
    weights = np.zeros(count, np.float32)
    weights[-1] = np.inf
    save_file({"w": weights}, tmp_path / "a")
    assert rejection(tmp_path / "a", {"w": ExpectedTensor((count,), integer=False, optional=False)}).total == 1


def test_memory_does_not_grow_with_the_file(tmp_path):
    """400 MB of weights are judged in a process that may hold far less beyond its start."""
    with (tmp_path / "a").open("wb") as file:  # a hole in the file: zeros that take no disk
        header = json.dumps({"w": {"dtype": "F32", "shape": [10**8], "data_offsets": [0, 4 * 10**8]}}).encode()
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(file.tell() + 4 * 10**8)
    code = f"""
import resource
from pathlib import Path
from service.registry.models.architectures import ExpectedTensor
from service.registry.models.checkpoint_files import inspect
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inspect(Path({str(tmp_path / "a")!r}), {{"w": ExpectedTensor((10**8,), integer=False, optional=False)}})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(out) < 40_000  # KiB
