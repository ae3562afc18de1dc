import pytest
import torch

from worker.unlearning.line_search import nearest_holding


def search(holds, bisections=12):
    p = torch.tensor([4.0])
    alpha = nearest_holding([p], [torch.zeros(1)], lambda: holds(p.item()), bisections=bisections)
    return p.item(), alpha


def test_it_ends_at_the_nearest_point_that_holds():
    p, alpha = search(lambda p: p >= 1)
    assert 1 <= p < 1.01
    assert alpha == p / 4


def test_it_stays_where_nothing_nearer_holds():
    assert search(lambda p: p == 4) == (4.0, 1.0)


def test_it_ends_at_a_point_it_tested_even_if_the_line_crosses_twice():
    p, _ = search(lambda p: p >= 3.5 or 1.7 <= p <= 2.5)
    assert 1.7 <= p <= 2.5


def test_no_bisection_changes_nothing():
    p, alpha = search(lambda _: True, bisections=0)
    assert (p, alpha) == (4.0, 1.0)


def test_where_everything_holds_it_goes_all_the_way_back():
    p, _ = search(lambda _: True)
    assert p == pytest.approx(0, abs=1e-2)
