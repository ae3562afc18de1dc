"""The sum that is minimised over ψ, ω and φ: the paper's five terms (end of section 3.3), as `Config` has them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.unlearning import losses
from worker.unlearning.anchors import Structure
from worker.unlearning.config import Config
from worker.unlearning.goal import Aims
from worker.unlearning.importance import importance
from worker.unlearning.pool import Pool
from worker.unlearning.precision import autocast
from worker.unlearning.projector import Projector
from worker.unlearning.split import SplitClassifier


@dataclass(frozen=True)
class Objective:
    """The fixed references of the loss terms, all taken at θ_ori."""

    config: Config
    structure: Structure
    projector: Projector | None  # p_ω; None = the identity
    importance: list[Tensor]  # I, one tensor per tensor of ψ
    features_only: list[Tensor]  # ψ_ori
    head: list[Tensor]  # φ_ori

    def terms(
        self,
        model: SplitClassifier,
        aims: Aims,
        pool: Pool,
        index: Tensor,
        *,
        pressure: float,
    ) -> dict[str, Tensor]:
        """The weighted terms on the `aims` and the surrogates at `index` (n,).

        Their sum is the loss. `model` is what takes the inputs that both hold, `pressure` the weight of the deletion.
        """
        config = self.config
        # Surrogates and forget images in one pass, unless BatchNorm would mix their statistics.
        parts = [pool.inputs[index].float(), aims.inputs.float()]
        parts = [torch.cat(parts)] if config.frozen_batch_norm else parts
        with autocast(index.device, bfloat16=config.bfloat16):
            passes = [model.split(x) for x in parts]
        features, logits = (torch.cat(column).float() for column in zip(*passes, strict=True))  # (n + N, d), (n + N, b)
        features, (logits, forget_logits) = features[: len(index)], logits.tensor_split([len(index)])
        projected = features if self.projector is None else self.projector(features)
        if config.retention == "labels":
            retention = F.cross_entropy(model.head(projected).float(), pool.labels[index])
        else:
            retention = losses.distillation(pool.logits[index], logits)
        labels = aims.labels
        if aims.margins is not None:
            deletion = losses.margin_match(forget_logits, labels, aims.margins)
        elif config.deletion == "ascent":
            deletion = losses.ascent(forget_logits, labels)
        else:
            deletion = losses.margin_hinge(forget_logits, labels, margin=config.margin)
        align = losses.alignment(
            self.structure.affinity(pool.features[index]),
            self.structure.affinity(projected),
            kind=config.alignment,
            axis=config.alignment_axis,
        )
        drift = losses.drift(self.importance, list(model.features_only_parameters().values()), self.features_only)
        net = losses.elastic_net(list(model.head.parameters()), self.head, l1=config.elastic_l1, l2=config.elastic_l2)
        return {
            "deletion": pressure * deletion,
            "retention": config.retention_weight * retention,
            "alignment": config.alignment_weight * align,
            "importance": config.importance_weight * drift,
            "elastic_net": net,
        }


def make_objective(
    model: SplitClassifier, pool: Pool, structure: Structure, *, config: Config, rng: torch.Generator
) -> Objective:
    """Measure structural importance and remember the weights; `model` must still be the original."""
    width = model.head.in_features
    device = model.head.weight.device
    projector = Projector(width, rng=rng).to(device) if config.projector else None
    # Eq. 4 as printed is zero under a projector that starts as the identity, so it is measured through a random one.
    probe = Projector(width, rng=rng, identity=False).to(device) if config.importance == "gradient" else None
    picked = torch.randperm(len(pool.labels), generator=rng, device=rng.device)[: config.importance_images]
    inputs = pool.inputs[picked.to(pool.labels.device)].float()
    return Objective(
        config=config,
        structure=structure,
        projector=projector,
        importance=importance(model, inputs, structure, kind=config.importance, rng=rng, projector=probe),
        features_only=[p.detach().clone() for p in model.features_only_parameters().values()],
        head=[p.detach().clone() for p in model.head.parameters()],
    )
