"""The projector p_ω of Eq. 1; exists in training only, the deployed classifier is h∘g."""

import math

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """p(g) = g + W₂ ReLU(W₁ g), with W₂ = 0 at the start, so that S_unl = S_ori before the first step."""

    def __init__(self, width: int, *, rng: torch.Generator, identity: bool = True) -> None:
        """Draw W₁ (d, d) for feature width d from `rng` as in He et al. (2015), and W₂ likewise unless `identity`."""
        super().__init__()
        W1, W2 = (torch.randn(width, width, generator=rng, device=rng.device) * math.sqrt(2 / width) for _ in range(2))
        self.W1 = nn.Parameter(W1)
        self.W2 = nn.Parameter(torch.zeros_like(W2) if identity else W2)

    def forward(self, features: Tensor) -> Tensor:
        """(N, d) -> (N, d)."""
        return features + torch.relu(features @ self.W1.T) @ self.W2.T
