import pytest
import torch

from worker.unlearning import Batch
from worker.unlearning.batch import integers, shuffled, uniform


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (torch.zeros(2, 8, 8), torch.zeros(2, dtype=torch.int64), "float tensor"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "float tensor"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(3, dtype=torch.int64), "one entry per image"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2), "int64"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), "at least one"),
        (torch.full((1, 1, 8, 8), 255.0), torch.zeros(1, dtype=torch.int64), r"\[0, 1\]"),
        (torch.full((1, 1, 8, 8), float("nan")), torch.zeros(1, dtype=torch.int64), r"\[0, 1\]"),
    ],
)
def test_a_batch_refuses_what_is_no_set_of_labelled_images(images, labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        Batch(images, labels)


def test_a_batch_moves_as_a_whole():
    moved = Batch(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])).to("cpu")
    assert len(moved) == 2


def test_draws_stay_in_their_range_and_repeat_with_the_seed():
    like = torch.zeros(1)
    first = uniform((1000,), -2, 3, rng=torch.Generator().manual_seed(1), like=like)
    again = uniform((1000,), -2, 3, rng=torch.Generator().manual_seed(1), like=like)
    assert torch.equal(first, again)
    assert -2 <= first.min() < -1.9
    assert 2.9 < first.max() < 3
    assert set(integers((100,), 3, rng=torch.Generator().manual_seed(1), like=like).tolist()) == {0, 1, 2}


def test_shuffled_uses_every_index_before_one_comes_again(rng):
    indices = shuffled(6, 4, rng=rng, like=torch.zeros(1))
    drawn = torch.cat([next(indices) for _ in range(3)])
    assert sorted(drawn[:6].tolist()) == sorted(drawn[6:].tolist()) == list(range(6))


def test_shuffled_fills_a_batch_larger_than_the_set(rng):
    assert sorted(next(shuffled(2, 5, rng=rng, like=torch.zeros(1))).tolist()) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
