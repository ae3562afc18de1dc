"""Layout of the version tree: numbers go from left to right, each branch has a lane (row) of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STEP, LANE, MARGIN = 56, 46, 42  # pixels between two versions, between two lanes, around the tree


@dataclass(frozen=True)
class Node:
    """A version and its place, in pixels."""

    number: int
    x: int
    y: int
    gate: str  #: "passed", "needs_review" or "registered"
    aliases: Sequence[str]


@dataclass(frozen=True)
class Tree:
    """Versions, and an SVG path from each parent to its child."""

    nodes: Sequence[Node]
    paths: Sequence[str]
    width: int
    height: int


def tree(rows: Sequence[tuple[int, int | None, str | None]], aliases: Mapping[int, Sequence[str]]) -> Tree:
    """Lay out versions `(number, parent's number, gate)`, in any order. Parents not among them get no path."""
    ordered = sorted((number, parent or 0, gate) for number, parent, gate in rows)
    columns = {number: column for column, (number, _, _) in enumerate(ordered)}
    lanes = _lanes(ordered, columns)
    top = MARGIN + 14  # the names of aliases stand above

    def place(number: int) -> tuple[int, int]:
        return MARGIN + STEP * columns[number], top + LANE * lanes[number]

    nodes = [Node(number, *place(number), gate or "registered", aliases.get(number, ())) for number, _, gate in ordered]
    paths = [_path(*place(parent), *place(number)) for number, parent, _ in ordered if parent in columns]
    height = top + LANE * max(lanes.values(), default=0) + MARGIN
    return Tree(nodes, paths, 2 * MARGIN + STEP * max(0, len(ordered) - 1), height)


def _lanes(ordered: Sequence[tuple[int, int, str | None]], columns: Mapping[int, int]) -> dict[int, int]:
    """The child that leads furthest goes on in its parent's lane; others take the first one that is free."""
    furthest = {number: number for number, _, _ in ordered}
    for number, parent, _ in reversed(ordered):
        if parent in columns:
            furthest[parent] = max(furthest[parent], furthest[number])
    lanes: dict[int, int] = {}
    taken: list[int] = []  # by lane, its last occupied column
    for number, parent, _ in ordered:
        last = columns[furthest[number]]
        if parent in columns and furthest[parent] == furthest[number]:
            lanes[number] = lanes[parent]
            continue
        lane = next((free for free, until in enumerate(taken) if until < columns[number]), len(taken))
        taken[lane : lane + 1] = [last]
        lanes[number] = lane
    return lanes


def _path(x: int, y: int, to_x: int, to_y: int) -> str:
    if y == to_y:
        return f"M{x} {y}H{to_x}"
    bend = to_x - STEP // 2
    return f"M{x} {y}H{max(x, bend - 14)}C{bend} {y} {bend - 8} {to_y} {bend + 8} {to_y}H{to_x}"
