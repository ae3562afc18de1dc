"""The tree of a model's versions."""

from service.dashboard.lineage import LANE, STEP, tree


def test_a_version_that_needs_review_leaves_the_line_and_the_next_goes_on():
    """1 – 2 – 4 – 5 in a line, 3 beside it; 6 has no parent."""
    rows = [
        (1, None, None),
        (2, 1, "passed"),
        (3, 2, "needs_review"),
        (4, 2, "passed"),
        (5, 4, "passed"),
        (6, None, None),
    ]
    drawn = tree(rows, {5: ["production"]})
    lanes = {node.number: (node.y - drawn.nodes[0].y) // LANE for node in drawn.nodes}
    assert lanes == {1: 0, 2: 0, 3: 1, 4: 0, 5: 0, 6: 0}
    assert [node.x - drawn.nodes[0].x for node in drawn.nodes] == [n * STEP for n in range(6)]
    assert len(drawn.paths) == 4
    assert drawn.nodes[4].aliases == ["production"]


def test_an_empty_tree_and_unknown_parents_are_drawn():
    assert tree([], {}).nodes == []
    assert tree([(7, 3, "passed")], {}).paths == []
