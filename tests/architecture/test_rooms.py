"""The house stays as simple as it is."""

import pytest

from tests.architecture.rooms import PLACES, Plan, circles, plan

#: Rooms, floors and arrows that a place may have at most.
_MOST = {"house": (20, 8, 65), "service": (18, 8, 60), "service.registry": (22, 8, 95), "worker": (14, 5, 30)}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_has_few_rooms_floors_and_arrows(place):
    drawn = plan(place)
    counted = (len(drawn.arrows), max(drawn.floors.values()), drawn.count)
    assert all(is_ <= most for is_, most in zip(counted, _MOST[place], strict=True)), counted


@pytest.mark.parametrize("place", PLACES)
def test_no_arrow_runs_back_up(place):
    assert plan(place).back_up == []


def test_no_modules_import_each_other_in_a_circle():
    assert circles() == []


def test_what_is_counted_is_what_was_drawn():
    assert Plan({"roof": {"wall"}, "wall": {"floor"}, "floor": set()}).floors == {"floor": 1, "wall": 2, "roof": 3}
    circle = Plan({"roof": {"wall"}, "wall": {"floor"}, "floor": {"wall"}})
    assert circle.back_up == [("floor", "wall"), ("wall", "floor")]
    assert circle.count == 3
