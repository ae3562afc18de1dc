"""Only the last part of a network is trained; the outputs of the frozen part in front of it are computed once.

The last part has most of the parameters and takes least of the work: three quarters of a ResNet-20 are its last stage,
but a third of its multiplications and a seventh of the values that pass between its layers.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from worker.unlearning.split import SplitClassifier

_CHUNK = 256  # images per forward


class Tail:
    """The part of a classifier that is trained, and the way to its inputs.

    `classifier` shares its parameters with the whole, takes the inputs that `inputs` makes, and is the whole where the
    network cannot be cut: it is cut between two of its children, in front of the first that is trained, if that gives
    the same answers. So it does for ResNets; vision transformers, say, are not merely a chain of their children.
    """

    def __init__(self, model: SplitClassifier, probe: Tensor, *, dtype: torch.dtype = torch.float32) -> None:
        """Cut `model` in front of its first child with a parameter that requires a gradient.

        `probe` (n, C, H, W) shows whether the cut is one; `dtype` is that in which inputs are kept. The caller keeps
        the model in eval mode.
        """
        self._model = model
        self._dtype = dtype
        self._first: nn.Module | None = None
        self.classifier = model
        children = list(model.network.named_children())
        fixed = [all(not p.requires_grad for p in child.parameters()) for _, child in children]
        if not children or not fixed[0] or all(fixed):
            return
        first = fixed.index(False)
        self._first = children[first][1]
        chain = copy.copy(model.network)  # shares the modules, but not the list of them
        front = {name: nn.Identity() for name, _ in children[:first]}
        chain._modules = OrderedDict((model.network._modules | front).items())  # noqa: SLF001  (torch has no other way)
        self.classifier = SplitClassifier(chain, mean=(0.0,), std=(1.0,)).to(probe.device)
        if not self._agrees(probe):
            self._first, self.classifier = None, model

    @torch.no_grad()
    def inputs(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] (N, C, H, W) -> what `classifier` takes (N, …)."""
        if self._first is None:
            return images.to(self._dtype)
        return torch.cat([self._in_front(x).to(self._dtype) for x in torch.split(images, _CHUNK)])

    def _in_front(self, images: Tensor) -> Tensor:
        assert self._first is not None
        captured: list[Tensor] = []

        def stop(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            captured.append(inputs[0])
            raise _InputCaptured

        hook = self._first.register_forward_pre_hook(stop)
        try:
            self._model(images)
        except _InputCaptured:
            return captured[0]
        finally:
            hook.remove()
        raise AssertionError("the first trained child was not reached")

    @torch.no_grad()
    def _agrees(self, probe: Tensor) -> bool:
        whole = self._model(probe)
        try:
            part = self.classifier(self._in_front(probe))
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError):
            return False  # whatever the network does between its children, it is no chain of them
        return part.shape == whole.shape and torch.allclose(part, whole, rtol=1e-4, atol=1e-4)


class _InputCaptured(Exception):
    """Raised to end a forward pass once the input of the first trained child is captured."""


@contextmanager
def training_the_last(model: SplitClassifier, *, share: float) -> Iterator[None]:
    """Inside, only the last parameters require gradients: as few tensors as hold `share` of all; 1 = all of them."""
    parameters = list(model.parameters())
    required = [p.requires_grad for p in parameters]
    needed = share * sum(p.numel() for p in parameters)
    counted = 0
    for p in reversed(parameters):
        p.requires_grad_(counted < needed)
        counted += p.numel()
    try:
        yield
    finally:
        for p, before in zip(parameters, required, strict=True):
            p.requires_grad_(before)
