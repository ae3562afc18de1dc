"""Turn a pickled state dict into safetensors: `python -m worker.exchange.convert in.th out.safetensors`.

`weights_only=True` narrows what a pickle can do but is no security boundary (CVE-2025-32434, CVE-2026-24747). So this
process first gives up the network and all but a little memory, disk and time; whoever starts it gives it no
credentials. Register the safetensors file it leaves.
"""

import argparse
import pickle
import sys
from pathlib import Path

from worker.exchange.confinement import confine


class NotAStateDict(Exception):
    """The file does not hold a plain dictionary of tensors."""


class TooLarge(Exception):
    """The tensors in the file take far more room than the file."""


def convert(source: Path, target: Path) -> None:
    """Write the tensors of `source`, a file for torch.load, to `target`.

    A dictionary under the key `state_dict` or `model` is unwrapped, and the `module.` that DataParallel puts before
    every name is dropped. Raises NotAStateDict, or TooLarge when memory or disk are not enough.
    """
    # Here, because torch may start threads, and a process with threads cannot be confined.
    import torch  # noqa: PLC0415
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise NotAStateDict from error
    for wrapped in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapped), dict):
            state = state[wrapped]
    if not isinstance(state, dict) or not all(isinstance(k, str) and torch.is_tensor(v) for k, v in state.items()):
        raise NotAStateDict
    part = target.with_name(f"{target.name}.part")
    try:
        # Clones: safetensors holds contiguous tensors that share no memory.
        save_file({name.removeprefix("module."): t.contiguous().clone() for name, t in state.items()}, part)
        part.replace(target)
    except (RuntimeError, MemoryError, OSError, SafetensorError) as error:
        raise TooLarge from error
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.exchange.convert", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    if not confine(arguments.source.stat().st_size):
        print("This process could not leave the network.")  # noqa: T201  (its answer)
    try:
        convert(arguments.source, arguments.target)
    except (NotAStateDict, TooLarge) as error:
        sys.exit(f"{arguments.source}: {error.__doc__}")


if __name__ == "__main__":
    main()
