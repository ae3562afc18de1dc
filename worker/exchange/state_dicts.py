"""Finding the weights in what a training script saved, and their names without what wrappers put before them."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

_SHOWN = 12  # entries in a message
_DEPTH = 4  # of dictionaries that are searched
# DistributedDataParallel, DataParallel and AveragedModel name what they wrap `module`, torch.compile `_orig_mod`.
_WRAPPERS = {"module", "_orig_mod"}
# What a LightningModule, or a class around the network, calls the network; and its average over training.
_ATTRIBUTES = {"model", "net", "network", "backbone", "student", "teacher"}
_AVERAGES = {"ema", "ema_model", "model_ema", "ema_net", "net_ema", "averaged_model", "average_model"}
# AveragedModel's count of averaged models, and what thop's profiler adds to every module. Each is a single number.
_BOOKKEEPING = {"n_averaged", "total_ops", "total_params"}

StateDict = dict[str, Tensor]


class Placeholder:
    """Stands for an instance of a class, or the result of a function, that a pickle names; keeps nothing of it."""

    is_module = False

    def __init__(self, *_: object) -> None:
        """Whatever the pickle would have given to the class or function is dropped."""

    def __setstate__(self, state: object) -> None:
        """Only whether it is a torch.nn.Module is kept of the attributes."""
        self.is_module = isinstance(state, dict) and "_parameters" in state and "_modules" in state


def sets_of_weights(document: object) -> dict[str, StateDict]:
    """The state dicts in a document, with names that lead there: `state_dict`, `model_ema`, `state_dict.teacher`.

    A document that is one itself has the name "". Dictionaries of bookkeeping only are none. What wrappers put before
    all names of a set is taken off.
    """
    return {".".join(path): weights for path, weights in _search(document, ())}


def bookkeeping(weights: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that training tools keep in state dicts and networks do not have."""
    return [name for name, t in weights.items() if name.rpartition(".")[2] in _BOOKKEEPING and t.numel() == 1]


def contents(document: object) -> str:
    """What a document holds, in a line: its type, or its keys and their types, a dozen at most, and no values."""
    if not isinstance(document, dict):
        return f"It holds {_kind(document)}."
    if not document:
        return "It holds an empty dictionary."
    return f"It holds {listed(f'{printable(key)}: {_kind(value)}' for key, value in document.items())}."


def printable(key: object) -> str:
    """A key, so that it cannot steer a terminal: control characters escaped, in 60 characters at most."""
    text = ascii(key)[1:-1] if isinstance(key, str) else _kind(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


def listed(entries: Iterable[str]) -> str:
    """The first dozen of them, and the number of the others."""
    every = list(entries)
    others = len(every) - _SHOWN
    return ", ".join(every[:_SHOWN]) + (f" and {others} more" if others > 0 else "")


def has_module(document: object) -> bool:
    """Whether a document is a whole pickled network, or has one as an entry."""
    values = document.values() if isinstance(document, dict) else [document]
    return any(isinstance(value, Placeholder) and value.is_module for value in values)


def _search(document: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], StateDict]]:
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document) or len(path) > _DEPTH:
        return
    if all(torch.is_tensor(value) for value in document.values()):
        if len(bookkeeping(document)) < len(document):
            yield from _split(document, path)
        return
    for key, value in document.items():
        yield from _search(value, (*path, key))


def _split(weights: StateDict, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], StateDict]]:
    """The networks in a state dict: one, or several where a LightningModule has a model and its average."""
    weights = _without(weights, _WRAPPERS)
    skipped = set(bookkeeping(weights))
    firsts = {"".join(name.partition(".")[:2]) for name in weights if name not in skipped}
    networks = sorted(firsts & {f"{attribute}." for attribute in _ATTRIBUTES | _AVERAGES})
    if len(networks) > 1:
        for network in networks:
            part = {name.removeprefix(network): t for name, t in weights.items() if name.startswith(network)}
            yield (*path, network[:-1]), part
    elif len(networks) == len(firsts):
        yield from _split({name.removeprefix(networks[0]): t for name, t in weights.items()}, path)
    else:
        yield path, weights


def _without(weights: StateDict, components: set[str]) -> StateDict:
    """The same tensors, their names without these components, unless two would then have the same name."""
    renamed = {".".join(c for c in name.split(".") if c not in components): t for name, t in weights.items()}
    return renamed if len(renamed) == len(weights) and "" not in renamed else weights


def _kind(value: object) -> str:
    if torch.is_tensor(value):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, type):
        return f"the class or function {printable(value.__name__)}"
    if isinstance(value, Placeholder):
        return printable(type(value).__name__)
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def described(sets: Mapping[str, StateDict]) -> str:
    """Several sets of weights by name, with the number of tensors of each."""
    return listed([f"{printable(name)} ({len(weights)} tensors)" for name, weights in sets.items()])
