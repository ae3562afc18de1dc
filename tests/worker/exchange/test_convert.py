"""Pickles are opened by a process that can do little else."""

import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from worker.exchange.convert import NotAStateDict, convert


def run(*command, **environment):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def converted(tmp_path):
    return run(sys.executable, "-I", "-m", "worker.exchange.convert", tmp_path / "a.pt", tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        pickle.dumps(os.getcwd, protocol=2),
        pickle.dumps([1, 2], protocol=2),
        pickle.dumps({"state_dict": {"a": 1}}, protocol=2),
    ],
)
def test_a_pickle_of_anything_else_is_not_converted(tmp_path, content):
    """Only a dictionary of tensors passes, and no function is called."""
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(NotAStateDict):
        convert(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("wrapped", [lambda state: state, lambda state: {"state_dict": state}, lambda s: {"model": s}])
def test_what_training_wraps_the_weights_in_is_taken_off(tmp_path, wrapped):
    torch.save(wrapped({"module.a": torch.ones(2)}), tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [1, 1]


def test_the_converter_is_a_command_that_says_what_is_wrong(tmp_path):
    """It runs in a process of its own; a failure is a line and a status."""
    (tmp_path / "a.pt").write_bytes(b"")
    done = converted(tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"{tmp_path / 'a.pt'}: The file does not hold a plain dictionary of tensors. torch.save did not write it.\n"
    )


def test_a_small_file_that_becomes_large_is_not_converted(tmp_path):
    """Eight gigabytes from one number, which a stride of zero repeats."""
    torch.save({"a": torch.zeros(1).expand(1 << 31)}, tmp_path / "a.pt")
    done = converted(tmp_path)
    assert done.returncode == 1
    assert "take far more room than the file" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_disk_is_not_filled_either(tmp_path):
    """Forty megabytes fit into memory, and are more than twice the file."""
    torch.save({"a": torch.zeros(1).expand(10_000_000)}, tmp_path / "a.pt")
    done = converted(tmp_path)
    assert done.returncode == 1
    assert "take far more room than the file" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_confined_process_has_no_network():
    """Where the system lets it leave; CI has to."""
    code = (
        "import socket; from worker.exchange.confinement import confine; print(confine(0)); "
        "socket.create_connection(('127.0.0.1', 5432), timeout=5)"
    )
    done = run(sys.executable, "-I", "-c", code)
    if done.stdout == "False\n" and "CI" not in os.environ:
        pytest.skip("no right to make namespaces")
    assert done.stdout == "True\n"
    assert "Network is unreachable" in done.stderr
