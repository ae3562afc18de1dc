"""Attacks that know what reference models make of an image, against values worked out by hand."""

import math

import pytest
import torch

from worker.unlearning.membership import References, membership
from worker.unlearning.references import log_odds, reference_scores


def binary(*margins: float) -> torch.Tensor:
    """Logits of two classes whose first leads by so much: its log odds."""
    return torch.tensor([[margin, 0.0] for margin in margins], dtype=torch.float64)


def zeros(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.int64)


def test_lira_is_how_far_the_log_odds_lie_above_the_references_mean():
    """5 against 1 and 3, and −1 against 0 and 4."""
    references = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert reference_scores(binary(5, -1), zeros(2), references)["lira"].tolist() == pytest.approx([3, -3])


def test_log_odds_weigh_the_label_against_all_other_classes_together():
    """p = (0.5, 0.3, 0.2) has odds of 1 for its first class, p = (0.8, 0.1, 0.1) of 4, and of 1/9 for its last."""
    logits = torch.tensor([(0.5, 0.3, 0.2), (0.8, 0.1, 0.1), (0.8, 0.1, 0.1)]).log() + 7
    expected = [0, math.log(4), -math.log(9)]
    assert log_odds(logits, torch.tensor([0, 0, 2])).tolist() == pytest.approx(expected, abs=1e-6)


def test_rmia_is_the_ratio_to_what_members_and_others_have_on_average():
    """0.9 where references have 0.5 and 0.7: p̄ = ½ (1.3 · 0.6 + 0.7) = 0.74."""
    odds = [math.log(p / (1 - p)) for p in (0.9, 0.5, 0.7)]
    scores = reference_scores(binary(odds[0]), zeros(1), torch.tensor(odds[1:])[:, None])
    assert scores["rmia"].item() == pytest.approx(math.log(0.9 / 0.74))


def test_scores_stay_finite_where_probabilities_do_not_tell_images_apart():
    """p_y rounds to 1 and to 0; a ratio to what is at least 0.35 then says no more than p_y."""
    scores = reference_scores(binary(60, 50, -800), zeros(3), torch.zeros(1, 3))
    assert all(bool(torch.isfinite(values).all()) for values in scores.values())
    assert scores["lira"].tolist() == [60, 50, -800]
    assert scores["rmia"][0] == scores["rmia"][1]
    assert scores["rmia"][2].item() == pytest.approx(-800 - math.log(0.675))


@pytest.mark.parametrize("shape", [(0, 2), (1, 3), (2,)])
def test_references_must_have_been_shown_these_images(shape):
    with pytest.raises(ValueError, match="references"):
        reference_scores(binary(1, 2), zeros(2), torch.zeros(shape))


def test_with_references_a_member_is_found_that_no_score_alone_tells():
    """Margins 2 and 2 on both sides; but references give the forgotten one 0, and the other 2."""
    alone = membership(binary(2), zeros(1), binary(2), zeros(1)).unseen
    assert alone is not None
    assert (alone.advantage, sorted(alone.attacks)) == (
        0,
        ["confidence", "entropy", "loss", "margin", "modified_entropy"],
    )
    references = References(forget=torch.tensor([[0.0]]), unseen=torch.tensor([[2.0]]))
    found = membership(binary(2), zeros(1), binary(2), zeros(1), references=references).unseen
    assert found is not None
    assert (found.worst_attack, found.advantage) == ("lira", 0.5)
    assert found.attacks["lira"].auc == found.attacks["rmia"].auc == 1
