"""What is reported of a version is what a few lines of arithmetic give."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from service.registry.measurements.definitions import MEASUREMENTS, WITHOUT_IMAGES, Owner
from service.registry.measurements.schemas import Measurements
from worker.evaluation.measurements import Metrics, Probe, measure, measure_own
from worker.evaluation.outputs import collect_outputs, sampled_indices
from worker.job.progress_report import numbers
from worker.unlearning import Batch, SplitClassifier
from worker.unlearning.membership import References


@pytest.fixture
def model() -> SplitClassifier:
    """Says 0 for images whose left pixel is the brighter one, and 1 otherwise."""
    head = nn.Linear(2, 2, bias=False)
    head.weight.data = torch.eye(2)
    return SplitClassifier(nn.Sequential(nn.Flatten(), head), mean=[0.0], std=[1.0]).eval()


def images(*pairs: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(pairs).view(len(pairs), 1, 1, 2)


class Counter(nn.Module):
    """Passes images on and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.images += len(x)
        return x


def unseen(right: int, wrong: int) -> Batch:
    """Images of class 0, of which so many are taken for it, the lighter the more."""
    pixels = [(0.5 + n / 1000, 0.0) for n in range(right)] + [(0.0, 0.5 + n / 1000) for n in range(wrong)]
    return Batch(images(*pixels), torch.zeros(right + wrong, dtype=torch.int64))


def measured_alone(model: SplitClassifier, forget: Batch, test: Batch | None = None) -> Metrics:
    """A version without a parent."""
    seen = collect_outputs(model, forget=forget, test=None if test is None else [test], retain=None)
    return measure(model, seen, forget=forget, probe=None)


def test_accuracies_are_percentages_over_all_batches(model: SplitClassifier) -> None:
    forget = Batch(images((1.0, 0.0), (0.0, 1.0)), torch.tensor([1, 1]))  # the first one is misclassified
    test = [
        Batch(images((1.0, 0.0), (1.0, 0.0), (1.0, 0.0)), torch.tensor([0, 0, 1])),
        Batch(images((0.0, 1.0)), torch.tensor([1])),
    ]
    measured = measure(model, collect_outputs(model, forget=forget, test=test, retain=None), forget=forget, probe=None)
    assert measured.forget_accuracy == 50
    assert measured.test_accuracy == 75
    assert (measured.retain_accuracy, measured.collapse) == (None, None)


def test_robust_forget_accuracy_is_the_mean_over_the_views(model: SplitClassifier) -> None:
    forget = Batch(images((1.0, 0.2)), torch.tensor([0]))
    measured = measured_alone(model, forget)
    by_view = measured.robust_forget_accuracy_by_view
    assert (measured.forget_accuracy, by_view["flip"], by_view["darker"]) == (0, 100, 0)
    assert measured.robust_forget_accuracy == pytest.approx(sum(by_view.values()) / len(by_view))


def test_collapse_is_none_at_first_and_two_when_everything_is_reversed() -> None:
    features = nn.Linear(2, 2, bias=False)
    head = nn.Linear(2, 2, bias=False)
    features.weight.data, head.weight.data = torch.eye(2), torch.eye(2)
    model = SplitClassifier(nn.Sequential(nn.Flatten(), features, head), mean=[0.0], std=[1.0]).eval()
    probe = Probe(model, images((1.0, 0.0), (0.0, 1.0)), torch.eye(2))
    assert probe.collapse(model) == pytest.approx(0, abs=1e-6)
    features.weight.data = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert probe.collapse(model) == pytest.approx(2, abs=1e-6)


def test_every_image_is_shown_to_the_model_once(model: SplitClassifier) -> None:
    counter = Counter()
    network = nn.Sequential(counter, *model.network.children())
    counted = SplitClassifier(network, mean=[0.0], std=[1.0]).eval()
    test = [unseen(right=150, wrong=0), unseen(right=0, wrong=50)]
    collect_outputs(counted, forget=unseen(right=3, wrong=0), test=test, retain=[unseen(right=20, wrong=0)])
    assert counter.images == 3 + 200 + 20


def test_of_a_large_set_every_model_keeps_the_same_sample_from_everywhere(model: SplitClassifier) -> None:
    """2,000 of 3,000, a third of them misclassified: those that come last must not be left out, nor prevail."""
    test = [unseen(right=500, wrong=0)] * 4 + [unseen(right=0, wrong=500)] * 2
    forget = unseen(right=1, wrong=0)
    seen = collect_outputs(model, forget=forget, test=test, retain=None).test
    assert seen is not None
    assert seen.accuracy == pytest.approx(100 * 2 / 3)
    assert seen.logits.shape == seen.features.shape == (2000, 2)
    assert (seen.logits.argmax(1) == 1).double().mean().item() == pytest.approx(1 / 3, abs=0.03)
    again = collect_outputs(model, forget=forget, test=test, retain=None).test
    assert again is not None
    assert torch.equal(seen.features, again.features)


@pytest.mark.parametrize("count", [150, 3000])
def test_it_is_known_beforehand_which_images_are_kept(model: SplitClassifier, count: int) -> None:
    """So that others can be shown these and no more."""
    pixels = images(*((n / count, 0.0) for n in range(count)))
    test = [Batch(some, torch.zeros(len(some), dtype=torch.int64)) for some in pixels.split(256)]
    seen = collect_outputs(model, forget=unseen(right=1, wrong=0), test=test, retain=None).test
    assert seen is not None
    assert torch.equal(seen.features[:, 0], pixels[sampled_indices(count, batch=256)][:, 0, 0, 0])


def test_membership_needs_a_hundred_unseen_images(model: SplitClassifier) -> None:
    """Forgotten with the same margins as the wrong ones, below all that are right: 95 of 100 pairs, and 2.5 of 5."""
    forget = unseen(right=0, wrong=5)
    assert measured_alone(model, forget).membership is None
    assert measured_alone(model, forget, unseen(right=99, wrong=0)).membership is None
    measured = measured_alone(model, forget, unseen(right=95, wrong=5))
    assert measured.membership is not None
    assert measured.membership.unseen is not None
    assert measured.membership.unseen.attacks["margin"].auc == 2.5 / 100
    assert measured.membership_advantage() == pytest.approx(0.475)
    assert measured.membership.unseen_misclassified is not None
    assert measured.membership.unseen_misclassified.controls == 5
    assert measured.membership.unseen_misclassified.attacks["margin"].auc == 0.5


def test_the_worst_attack_may_be_one_that_compares_with_references(model: SplitClassifier) -> None:
    """No score of its own tells this image from the others; the reference, which is sure of those, knows it less."""
    forget, test = unseen(right=1, wrong=0), [unseen(right=1, wrong=0)] * 100
    seen = collect_outputs(model, forget=forget, test=test, retain=None)
    odds = References(forget=torch.tensor([[-1.0]]), unseen=torch.ones(1, 100))
    alone, compared = (measure(model, seen, forget=forget, probe=None, references=it) for it in (None, odds))
    assert (alone.membership_advantage(), compared.membership_advantage()) == (0, 0.5)
    assert compared.membership is not None
    assert compared.membership.unseen is not None
    assert compared.membership.unseen.worst_attack == "lira"


def test_a_forgotten_image_is_searched_for_among_the_test_images(model: SplitClassifier) -> None:
    """Its feature points where the other class is; the test images themselves are found."""
    test = Batch(images((1.0, 0.0), (0.9, 0.0), (0.0, 1.0), (0.0, 0.9)), torch.tensor([0, 0, 1, 1]))
    searches = measured_alone(model, Batch(images((0.1, 1.0)), torch.tensor([0])), test).retrieval
    assert searches is not None
    assert searches.retained is not None
    assert searches.forgotten is not None
    assert (searches.retained.recall_at_1, searches.retained.queries) == (100, 4)
    assert (searches.forgotten.recall_at_1, searches.forgotten.recall_at_5) == (0, 100)
    assert searches.forgotten.mean_average_precision == pytest.approx(100 * (1 / 3 + 2 / 4) / 2)


def test_a_version_is_compared_with_its_parent(model: SplitClassifier) -> None:
    """One whose head says the opposite has the same features and agrees about nothing."""
    reversed_ = SplitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)), mean=[0.0], std=[1.0]).eval()
    reversed_.head.weight.data = torch.eye(2).flip(0)
    forget, test = unseen(right=2, wrong=0), unseen(right=6, wrong=4)
    parent, now = (collect_outputs(m, forget=forget, test=None, retain=[test]) for m in (model, reversed_))
    assert measure(model, parent, forget=forget, probe=None).similarity is None
    measured = measure(reversed_, now, forget=forget, probe=None, parent=parent)
    assert measured.similarity is not None
    assert measured.similarity.images == 10
    assert (measured.similarity.cosine, measured.similarity.cka) == (pytest.approx(1), pytest.approx(1))
    assert measured.similarity.agreement == 0
    assert measured.similarity.jensen_shannon > 0
    assert measured.retained_similarity == measured.similarity  # there is no test set


def test_what_is_left_on_retained_images_is_measured_beside_the_test_images(model: SplitClassifier) -> None:
    forget = unseen(right=2, wrong=0)
    seen = collect_outputs(model, forget=forget, test=[unseen(right=30, wrong=0)], retain=[unseen(right=5, wrong=2)])
    measured = measure(model, seen, forget=forget, probe=None, parent=seen)
    assert (measured.similarity and measured.similarity.images) == 30
    assert (measured.retained_similarity and measured.retained_similarity.images) == 7


def test_marks_inside_the_model_need_a_hundred_unseen_images(model: SplitClassifier) -> None:
    """Forgotten as the wrong ones are: their features are of one kind."""
    forget = unseen(right=0, wrong=5)
    assert measured_alone(model, forget, unseen(right=99, wrong=0)).streisand is None
    found = measured_alone(model, forget, unseen(right=95, wrong=5)).streisand
    assert found is not None
    assert found.unseen is not None
    assert found.unseen.advantage > 0.4
    assert found.unseen_misclassified is not None
    assert found.unseen_misclassified.advantage == 0


def test_relearning_is_measured_for_few_images_of_a_version_with_a_parent(model: SplitClassifier) -> None:
    """What is not forgotten takes no step at all."""
    few, many = unseen(right=256, wrong=0), unseen(right=257, wrong=0)
    assert measured_alone(model, few).relearning is None
    for forget, steps in ((few, 0), (many, None)):
        seen = collect_outputs(model, forget=forget, test=None, retain=None)
        relearning = measure(model, seen, forget=forget, probe=None, parent=seen).relearning
        assert (relearning and relearning.steps) == steps


def test_the_service_describes_exactly_what_is_measured(model: SplitClassifier) -> None:
    """A field that only one of them knows would be lost on its way to the caller."""
    forget, test = unseen(right=2, wrong=2), unseen(right=95, wrong=5)
    seen = collect_outputs(model, forget=forget, test=[test], retain=[test])
    stored = numbers(asdict(measure(model, seen, forget=forget, probe=None, parent=seen)))
    assert Measurements.__annotations__.keys() == stored.keys()
    assert TypeAdapter(Measurements).validate_python(stored) == stored


def test_every_measurement_that_has_a_name_is_made(model: SplitClassifier) -> None:
    """Within the limits that the table gives it; and what is of a version or of a request by itself is told apart."""
    forget, test = unseen(right=4, wrong=0), unseen(right=95, wrong=5)
    seen = collect_outputs(model, forget=forget, test=[test], retain=[test])
    odds = References(forget=torch.zeros(1, 4), unseen=torch.ones(1, 100))
    probe = Probe(model, test.images, torch.eye(2))
    left_out = {"test": 1, "retain": 0}
    measured = measure(model, seen, forget=forget, probe=probe, parent=seen, references=odds, left_out=left_out)
    stored = numbers(asdict(measured))
    values = {each.path: each.of(stored) for each in MEASUREMENTS}
    for each in MEASUREMENTS:
        value = values[each.path]
        assert value is not None, each.path
        assert -1e-6 <= value <= (math.inf if each.maximum is None else each.maximum + 1e-6), each.path
    owned = {owner: {each.path for each in MEASUREMENTS if each.owner is owner} for owner in Owner}
    own = measure_own(model, seen, forget=forget, own=[0, 2])
    assert owned[Owner.REQUEST] == own.keys()
    assert {path: values[path] for path in owned[Owner.VERSION]} == measured.of_version()


def test_what_takes_no_images_to_forget_is_the_same_with_others(model: SplitClassifier) -> None:
    test = unseen(right=95, wrong=5)
    stored = []
    for forget in (unseen(right=3, wrong=2), unseen(right=1, wrong=6)):
        seen = collect_outputs(model, forget=forget, test=[test], retain=[test])
        stored.append(numbers(asdict(measure(model, seen, forget=forget, probe=None, parent=seen))))
    for each in MEASUREMENTS:
        if each.path.startswith(WITHOUT_IMAGES):
            assert each.of(stored[0]) == each.of(stored[1]), each.path


def test_a_model_of_nothing_but_nan_can_be_reported(model: SplitClassifier) -> None:
    """It recognises nothing and finds nothing, and JSON holds what is left."""
    model.head.weight.data.fill_(math.nan)
    forget, test = unseen(right=2, wrong=2), unseen(right=95, wrong=5)
    seen = collect_outputs(model, forget=forget, test=[test], retain=None)
    measured = measure(model, seen, forget=forget, probe=None, parent=seen)
    assert measured.forget_accuracy == 0
    assert math.isnan(measured.membership_advantage() or 0)
    assert TypeAdapter(Measurements).validate_python(stored := numbers(asdict(measured))) == stored

    def finite(values: Mapping[str, object]) -> bool:
        return all(
            finite(v) if isinstance(v, Mapping) else not isinstance(v, float) or math.isfinite(v)
            for v in values.values()
        )

    assert finite(stored)
