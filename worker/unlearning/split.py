"""The classifier f = h∘g of the paper's section 3, for any network whose last layer is linear."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SplitClassifier(nn.Module):
    """A network that normalises its input and can show the features its last linear layer reads.

    Works for whatever ends in an `nn.Linear` onto the classes: ResNets, torchvision's `fc`, `classifier` and
    `heads.head`, timm, vision transformers. Adds nothing to the network itself: `network.state_dict()` is untouched.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        """Wrap `network`, which expects inputs shifted by `mean` and divided by `std`, one number per channel.

        Raises ValueError if the network holds no linear layer or a standard deviation is not positive.
        """
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError("mean and std need one number per channel, std above 0")
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self._head_name = _last_linear(network)

    @property
    def head(self) -> nn.Linear:
        """The classifier h: weight (b, d), where b is the number of classes and d the feature width."""
        head = self.network.get_submodule(self._head_name)
        assert isinstance(head, nn.Linear)
        return head

    def features_only_parameters(self) -> dict[str, nn.Parameter]:
        """ψ: every parameter in front of the head that requires a gradient, by its name in this module."""
        inside_head = {id(p) for p in self.head.parameters()}
        return {name: p for name, p in self.named_parameters() if p.requires_grad and id(p) not in inside_head}

    def forward(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] (N, C, H, W) -> logits (N, b)."""
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (N, C, H, W) -> g(x) (N, d) and h(g(x)) (N, b), in one forward.

        Raises ValueError if the network does not end in the head, so that its features cannot be seen.
        """
        captured: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            logits = self(x)
        finally:
            hook.remove()
        if len(captured) != 1 or captured[0].ndim != 2 or logits.shape != (len(x), self.head.out_features):
            raise ValueError(f"the network's output is not that of its last linear layer, {self._head_name!r}")
        return captured[0], logits


def _last_linear(network: nn.Module) -> str:
    names: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError("the network has no linear layer, so it cannot be split into features and classifier")
    return names[-1]
