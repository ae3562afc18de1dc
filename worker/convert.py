"""Turn a pickled state dict into safetensors: `python -m worker.convert in.th out.safetensors`.

`weights_only=True` narrows what a pickle can do but is no security boundary (CVE-2025-32434, CVE-2026-24747): run this
in a process of its own, with no network and no credentials, and register the safetensors file it leaves.
"""

import argparse
import pickle
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


class NotAStateDict(Exception):
    """The file does not hold a plain dictionary of tensors."""


def convert(source: Path, target: Path) -> None:
    """Write the tensors of `source`, a file for torch.load, to `target`.

    A dictionary under the key `state_dict` is unwrapped, and the `module.` that DataParallel puts before every name is
    dropped. Raises NotAStateDict.
    """
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise NotAStateDict from error
    if isinstance(state, dict) and "state_dict" in state:
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and torch.is_tensor(v) for k, v in state.items()):
        raise NotAStateDict
    # Clones: safetensors holds contiguous tensors that share no memory.
    tensors = {name.removeprefix("module."): tensor.contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, target)


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m worker.convert", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    try:
        convert(arguments.source, arguments.target)
    except NotAStateDict:
        sys.exit(f"{arguments.source}: {NotAStateDict.__doc__}")


if __name__ == "__main__":
    main()
