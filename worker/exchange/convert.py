"""Turn a pickled state dict into safetensors: `python -m worker.exchange.convert in.th out.safetensors`.

`weights_only=True` narrows what a pickle can do but is no security boundary (CVE-2025-32434, CVE-2026-24747). So this
process first gives up the network and all but a little memory, disk and time; whoever starts it gives it no
credentials. Register the safetensors file it leaves.
"""

import argparse
import pickle
import re
import sys
from pathlib import Path
from typing import Any

from worker.exchange.confinement import confine

_MAX_GLOBALS = 64  # classes and functions that a file may name
_NOT_ALLOWED = re.compile(r"GLOBAL (\S+) was not an allowed global")  # torch.load says no more in another way
_STATE_DICT_ONLY = (
    "A pickled network is a program. Where its code is, write its weights alone: "
    "`model = torch.load(PATH, weights_only=False)`, `torch.save(model.state_dict(), 'weights.pt')`."
)


class NotAStateDict(Exception):
    """The file does not hold a plain dictionary of tensors."""

    def __init__(self, contents: str) -> None:
        """Say what it holds instead, in sentences."""
        super().__init__(f"{self.__doc__} {contents}")


class Ambiguous(Exception):
    """The file holds several sets of weights, or none of the name."""


class TooLarge(Exception):
    """The tensors in the file take far more room than the file."""


def convert(source: Path, target: Path, weights: str | None = None) -> str:
    """Write the tensors of `source`, a file for torch.load, to `target`; the names of those left out, in a line.

    They are found in dictionaries that hold other things, too. Before their names, what DataParallel, torch.compile and
    the like put there is dropped. Left out are tensors that are no weights, such as a count of averaged models. Where a
    file holds several sets of weights, as with an average over training, `weights` names the one to take.

    Raises:
        NotAStateDict: the file holds something else.
        Ambiguous: `weights` has to be given, or names no set of the file.
        TooLarge: memory or disk are not enough.
    """
    # Here, because torch may start threads, and a process with threads cannot be confined.
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    from worker.exchange import state_dicts  # noqa: PLC0415

    document = _load(source)
    sets = state_dicts.sets_of_weights(document)
    if not sets:
        advice = [_STATE_DICT_ONLY] if state_dicts.has_module(document) else []
        raise NotAStateDict(" ".join([state_dicts.contents(document), *advice]))
    if weights is None and len(sets) > 1:
        raise Ambiguous(
            f"The file holds several sets of weights: {state_dicts.described(sets)}. Choose with --weights NAME."
        )
    if weights is not None and weights not in sets:
        named = {name: tensors for name, tensors in sets.items() if name}
        those = f"It holds {state_dicts.described(named)}." if named else "It is a single state dict, without a name."
        raise Ambiguous(f"The file holds no weights of this name. {those}")
    state = next(iter(sets.values())) if weights is None else sets[weights]
    left_out = state_dicts.bookkeeping(state)
    part = target.with_name(f"{target.name}.part")
    try:
        # Clones: safetensors holds contiguous tensors that share no memory. Counters are int64 in networks.
        tensors = {
            name: (t.long() if name.endswith("num_batches_tracked") else t).detach().contiguous().clone()
            for name, t in state.items()
            if name not in left_out
        }
        save_file(tensors, part)
        part.replace(target)
    except (RuntimeError, MemoryError, OSError, SafetensorError) as error:
        raise TooLarge from error
    finally:
        part.unlink(missing_ok=True)
    return state_dicts.listed([state_dicts.printable(name) for name in left_out])


def _load(source: Path) -> Any:
    """What torch.load makes of a file, with placeholders for what it would not import.

    Beside the weights, training scripts save argparse.Namespace, numpy's scalars and arrays, paths, and settings of
    classes of their own. Allowing these classes and functions would have them called with what a stranger wrote:
    numpy's dtypes and arrays restore themselves from it in C. None is needed for the weights. So the names are allowed,
    but each stands for a placeholder, which takes anything and does nothing; what they name is neither imported nor
    called. Names that torch.load never allows (os, sys) stay refused.
    """
    import torch  # noqa: PLC0415

    from worker.exchange.state_dicts import Placeholder, listed, printable  # noqa: PLC0415

    placeholders: dict[str, type[Placeholder]] = {}
    while True:
        try:
            with torch.serialization.safe_globals([(kind, name) for name, kind in placeholders.items()]):
                return torch.load(source, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = _NOT_ALLOWED.search(str(error))
            if refused is None or refused[1] in placeholders or len(placeholders) >= _MAX_GLOBALS:
                classes = listed([printable(name) for name in placeholders])
                contents = (
                    f"It is a pickle that makes objects of {classes}." if classes else "torch.save did not write it."
                )
                raise NotAStateDict(contents) from error
            # The message says `set` for `builtins.set`.
            name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"
            placeholders[name] = type(refused[1], (Placeholder,), {})
        except (RuntimeError, EOFError, TypeError, ValueError, LookupError, AttributeError) as error:
            if "TorchScript" in str(error):
                raise NotAStateDict(f"It holds a TorchScript program. {_STATE_DICT_ONLY}") from error
            raise NotAStateDict("torch.save did not write it.") from error


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.exchange.convert", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--weights", metavar="NAME")
    arguments = parser.parse_args()
    if not confine(arguments.source.stat().st_size):
        print("This process could not leave the network.")  # noqa: T201  (its answer)
    try:
        left_out = convert(arguments.source, arguments.target, arguments.weights)
    except (NotAStateDict, Ambiguous, TooLarge) as error:
        sys.exit(f"{arguments.source}: {str(error) or error.__doc__}")
    if left_out:
        print(f"Left out, as these are no weights: {left_out}.")  # noqa: T201


if __name__ == "__main__":
    main()
