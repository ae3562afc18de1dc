"""Marks of having been forgotten, against values worked out by hand."""

import torch

from worker.unlearning.streisand import streisand


def side(*images: tuple[float, float, float, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images as two features, the lead of class 0 in logits, and the label."""
    features = torch.tensor([[a, b] for a, b, _, _ in images])
    logits = torch.tensor([[lead, 0.0] for _, _, lead, _ in images])
    return features, logits, torch.tensor([label for *_, label in images])


UNSEEN = side(
    (1, 0, 2, 0),  # right, and so is the next: the mean of class 0 is (2, 0), that of class 1 (0, 2)
    (3, 0, 2, 0),
    (0, 2, -2, 1),
    (2, 1, -1, 0),  # wrong: of norm √5, 1 from the mean of its class
)


def test_an_image_with_the_features_of_a_wrong_one_does_not_stand_out_among_them():
    found = streisand(side((2, 1, -1, 0)), UNSEEN)
    assert found is not None
    assert found.unseen_misclassified is not None
    assert (found.unseen_misclassified.controls, found.unseen_misclassified.advantage) == (1, 0)


def test_a_crushed_feature_stands_out_although_the_loss_does_not():
    """Norm 0.5 against √5, and 1.5 from the mean against 1: below its control in both."""
    found = streisand(side((0.5, 0, -1, 0)), UNSEEN)
    assert found is not None
    assert found.unseen_misclassified is not None
    attacks = found.unseen_misclassified.attacks
    assert [attacks[name].auc for name in ("loss", "entropy", "feature_norm", "class_distance")] == [0.5, 0.5, 0, 0]
    assert (found.unseen_misclassified.advantage, found.unseen_misclassified.worst_attack) == (0.5, "feature_norm")


def test_among_all_unseen_images_its_loss_gives_it_away():
    """Loss: below the three right ones, and a tie with the wrong one. Norm 2: above 1, below 3 and √5, a tie with 2."""
    found = streisand(side((2, 0, -1, 0)), UNSEEN)
    assert found is not None
    assert found.unseen is not None
    assert found.unseen.controls == 4
    assert found.unseen.attacks["loss"].auc == 0.5 / 4
    assert found.unseen.attacks["feature_norm"].auc == 1.5 / 4


def test_a_class_without_a_right_image_is_measured_from_the_middle_of_all():
    """The label 1 has only a wrong image; right are (1, 0) and (3, 0), so both are measured from (2, 0)."""
    found = streisand(side((2, 2, 1, 1)), side((1, 0, 2, 0), (3, 0, 2, 0), (2, 5, 1, 1)))
    assert found is not None
    assert found.unseen_misclassified is not None
    assert found.unseen_misclassified.attacks["class_distance"].auc == 1  # 2 away against 5


def test_without_a_right_image_there_is_nothing_to_compare_with():
    assert streisand(side((1, 0, -1, 0)), side((1, 0, -1, 0))) is None
