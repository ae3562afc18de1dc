"""The hyper-parameters of the method with their units, and the named settings of them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from worker.unlearning.importance import Importance
from worker.unlearning.losses import Alignment, Axis


@dataclass(frozen=True, kw_only=True)
class Config:
    """Hyper-parameters of one unlearning run. Store it with the result (`asdict`)."""

    # What counts as forgotten.
    goal: Literal["misclassify", "indistinguishable"] = "misclassify"  # another label, or an unseen image's confidence
    scope: Literal["exact", "views"] = "exact"  # the very image, or its random variations too
    stop_margin: float = 0.05  # logits every forget image must lie past the boundary; 0 = misclassified is enough
    view_target: float = 0.83  # share of the watched training views that must be misclassified too (scope "views")
    target_tolerance: float = 0.25  # logits between an image's margin and its target (goal "indistinguishable")

    # The terms of the objective, each with its weight. Weights depend on no batch size and no k.
    deletion: Literal["margin", "ascent"] = "margin"  # bounded hinge, or the paper's −CE
    deletion_weight: float = 8.0
    deletion_growth: float = 2.0  # factor per 100 steps without the goal; images past the margin feel nothing of it
    margin: float = 8.0  # logits past the boundary at which the hinge falls silent; so deep they outlast later requests
    retention: Literal["distil", "labels"] = "distil"  # original logits, or the paper's CE through the projector
    retention_weight: float = 40.0
    alignment: Alignment = "cosine"  # Eq. 2, or a row of Table 6
    alignment_axis: Axis = "rows"
    alignment_weight: float = 1.0
    importance: Importance = "gauss_newton"
    importance_images: int = 256  # surrogates on which importance is measured
    importance_weight: float = 10.0  # of Eq. 3, with importance of mean 1 per tensor, whose entries reach thousands
    elastic_l1: float = 1e-4  # of the head's move, per logit-per-feature
    elastic_l2: float = 1e-3
    raw_anchors: bool = False  # the paper's form: anchors and features not centred, no grounded map
    projector: bool = False  # off: the structure is held on the features that are deployed

    # The surrogates D_s. The more there is to forget, the more must be held on to, see `sized`.
    grows_beyond: int | None = 64  # images to forget; None = the same surrogates whatever is to be forgotten
    mixup: int = 1280  # images
    cutmix: int = 1280  # images
    collage: int = 0  # images
    bent: int = 2560  # images
    moved: float = 0.3  # share of the images that are moved before they are mixed
    inverted: int = 1024  # images, made of mixtures and collages and moved towards the training set's statistics
    inversion_iterations: int = 10
    inverted_views: int = 0  # random views of each inverted image, as further surrogates: far cheaper than inversions
    adversarial: int = 0  # images per forget image
    adversarial_eps: float = 1.0  # L2 norm over pixels in [0, 1]
    adversarial_step: float = 0.2  # the same unit
    adversarial_iterations: int = 10

    # The optimiser.
    optimiser: Literal["adam", "sgd"] = "adam"
    lr: float = 2e-3
    momentum: float = 0.9  # of SGD
    weight_decay: float = 0.0
    clip: float | None = 5.0  # L2 norm of the whole gradient
    frozen_batch_norm: bool = True  # running statistics stay bit-identical
    warm_up: int = 20  # steps until lr is reached
    trained: float = 0.7  # share of the parameters that move, counted from the output
    forget_batch: int = 128  # images (scope "views": views) per step
    surrogate_batch: int = 256  # images per step
    bfloat16: bool = True  # autocast in training, where the device has it; every check runs in float32

    # When to stop.
    max_steps: int = 1000  # until the goal is reached
    settling: int = 200  # steps thereafter, while the learning rate falls to 0; the last weights that hold are kept
    max_churn: float = 0.05  # share of inverted surrogates with another label, beyond which it starts over, `gentler`
    max_seconds: float = 3600.0  # whole run, surrogates included
    check_every: int = 10  # steps
    line_search: int = 0  # bisections back towards the original weights, which gives up depth; 0 = none

    def sized(self, k: int) -> "Config":
        """For k images to forget: beyond `grows_beyond`, more of most things by the factor √(k / `grows_beyond`).

        There is more to hold on to, so there are more surrogates and larger batches of them. Pressure grows more
        slowly, over more steps and time: many images that give way at once tear what they would not one by one. In
        scope "views" they settle longer, too. In scope "exact" inverted surrogates grow with k itself, and images to
        forget come in larger batches, or a thousand would meet too seldom for the last of them to give way. They are
        left less deep, by the factor's square, and structure gives way to them, by its cube: what lost least at 256.
        """
        if self.grows_beyond is None or k <= self.grows_beyond:
            return self
        factor = (k / self.grows_beyond) ** 0.5

        def grown(*names: str, by: float = factor) -> dict[str, Any]:
            return {name: round(getattr(self, name) * by) for name in names}

        surrogates = grown("mixup", "cutmix", "collage", "bent", "inverted", "surrogate_batch")
        limits = grown("max_steps", "max_seconds")
        slower = replace(self, deletion_growth=self.deletion_growth ** (1 / factor), **surrogates, **limits)
        if self.scope == "views":
            return replace(slower, **grown("settling"))
        return replace(
            slower,
            **grown("forget_batch"),
            **grown("inverted", by=factor**2),
            margin=self.margin / factor**2,
            importance_weight=self.importance_weight / factor**3,
        )

    def gentler(self) -> "Config":
        """For a network that these settings damage too much (`max_churn`): less pressure, larger learning rate."""
        return replace(
            self,
            deletion_weight=self.deletion_weight / 4,
            margin=0.3,
            importance_weight=0.1,
            lr=2.5 * self.lr,
            settling=2 * self.settling,
            max_churn=1.0,
        )


DEFAULT = Config()
"""Forget the very images (scope "exact")."""

VIEWS = replace(
    DEFAULT,
    scope="views",
    margin=1.0,
    importance_weight=0.1,
    grows_beyond=16,
    mixup=1024,
    cutmix=0,
    bent=1280,
    inverted=2560,
    inverted_views=2,
    moved=1.0,
    line_search=10,
)
"""Forget variations of the images too (scope "views"). Mixtures of unmoved images are too similar to the images to
be kept while those are forgotten, so all are moved.

An image whose variations are forgotten lies deep enough by itself.
"""

PAPER = Config(
    stop_margin=0.0,
    importance_weight=0.1,
    deletion="ascent",
    deletion_weight=1.0,
    deletion_growth=1.0,
    retention="labels",
    retention_weight=1.0,
    raw_anchors=True,
    projector=True,
    elastic_l1=1e-3,
    elastic_l2=5e-6,
    grows_beyond=None,
    mixup=0,
    cutmix=0,
    bent=0,
    inverted=0,
    adversarial=20,
    adversarial_eps=4.0,
    adversarial_step=0.1,
    adversarial_iterations=100,
    optimiser="sgd",
    lr=1e-3,
    weight_decay=1e-4,
    clip=None,
    frozen_batch_norm=False,
    warm_up=0,
    trained=1.0,
    bfloat16=False,
    forget_batch=32,
    surrogate_batch=256,
    max_steps=2000,
    settling=0,
    check_every=1,
)
"""StructGuard as published, where the paper is silent with the peer's settings (L2UL's run scripts)."""
