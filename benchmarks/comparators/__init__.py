"""The methods StructGuard is compared with, behind the signature of `unlearn`.

Each is a generator that changes the model in place and yields a Step after every piece of work; the last one has
the accuracy on the forget set. All of them end by themselves and leave the model in eval mode without gradients. The
two that see retained images, which a deletion request does not come with, take them as `retain`.
"""

from benchmarks.comparators.attack_images import Adv, adv
from benchmarks.comparators.fisher_noise import Fisher, fisher
from benchmarks.comparators.gradient_ascent import NegGrad, neggrad
from benchmarks.comparators.masked_softmax import Delete, delete
from benchmarks.comparators.nearest_class import BoundaryShrink, boundary_shrink
from benchmarks.comparators.retained_gradients import Oracle, oracle
from benchmarks.comparators.weight_importance import L2UL, l2ul
from benchmarks.comparators.weight_perturbation import RAWP, rawp

__all__ = [
    "L2UL",
    "RAWP",
    "Adv",
    "BoundaryShrink",
    "Delete",
    "Fisher",
    "NegGrad",
    "Oracle",
    "adv",
    "boundary_shrink",
    "delete",
    "fisher",
    "l2ul",
    "neggrad",
    "oracle",
    "rawp",
]
