"""The house in figures: `python -m tests.architecture.rooms` counts rooms, floors and arrows from the imports.

A room is a package, or a module that lies loose beside packages. An arrow A → B says that something in A imports
something in B, wherever the import stands: inside functions and for type checkers only, too. The ground floor imports
no other room of its place; every other room stands one floor above the highest that it imports. Rooms that import each
other in a circle have no order, so each arrow between them counts as one that runs back up.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGES = ("benchmarks", "migrations", "service", "worker")
PLACES = ("house", "service", "service.registry", "worker")


@dataclass(frozen=True)
class Plan:
    """One place of the house."""

    arrows: dict[str, set[str]] = field(default_factory=dict)  #: of every room the rooms that it imports

    @property
    def count(self) -> int:
        """How many arrows there are."""
        return sum(map(len, self.arrows.values()))

    @property
    def back_up(self) -> list[tuple[str, str]]:
        """Arrows between rooms that reach each other."""
        reached = {room: self._reached(room) for room in self.arrows}
        return sorted((a, b) for a, targets in self.arrows.items() for b in targets if a in reached[b])

    @property
    def floors(self) -> dict[str, int]:
        """Of every room its floor, from 1. Arrows that run back up are left out."""
        up = set(self.back_up)
        below = {room: {other for other in targets if (room, other) not in up} for room, targets in self.arrows.items()}
        floors: dict[str, int] = {}
        for room in TopologicalSorter(below).static_order():
            floors[room] = 1 + max((floors[other] for other in below[room]), default=0)
        return floors

    def _reached(self, room: str) -> set[str]:
        reached: set[str] = set()
        waiting = [room]
        while waiting:
            new = self.arrows[waiting.pop()] - reached
            reached |= new
            waiting += new
        return reached


def house(module: str) -> str | None:
    """The room of a module at the top: the packages, and instead of `service` what is directly in it."""
    return ".".join(module.split(".")[: 2 if module.startswith("service.") else 1])


def directly_in(package: str) -> Callable[[str], str | None]:
    """The rooms of one package."""
    depth = package.count(".") + 2
    return lambda module: ".".join(module.split(".")[:depth]) if module.startswith(f"{package}.") else None


def plan(place: str) -> Plan:
    """One place, drawn from the imports of all modules."""
    return _plan(house if place == "house" else directly_in(place))


def circles() -> list[str]:
    """Modules that import each other in a circle, as one line; no line is good."""
    try:
        TopologicalSorter(_imports()).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def _plan(room_of: Callable[[str], str | None]) -> Plan:
    arrows: dict[str, set[str]] = defaultdict(set)
    for module, imported in _imports().items():
        room = room_of(module)
        # A package's empty `__init__` is no room, unless it is one by itself.
        if room is None or module in {"service", "service.registry"}:
            continue
        arrows[room] |= _rooms(imported, room_of) - {room}
    return Plan({room: targets & arrows.keys() for room, targets in arrows.items()})


def _rooms(modules: Iterable[str], room_of: Callable[[str], str | None]) -> set[str]:
    return {room for module in modules if (room := room_of(module)) is not None}


@cache
def _imports() -> dict[str, set[str]]:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def main() -> None:
    """Print every place, from the top floor down."""
    for place in PLACES:
        drawn = plan(place)
        floors = drawn.floors
        print(
            f"{place}: {len(drawn.arrows)} rooms, {max(floors.values())} floors, {drawn.count} arrows, "
            f"{len(drawn.back_up)} that run back up"
        )
        for floor in range(max(floors.values()), 0, -1):
            print(f"  {floor}  " + ", ".join(sorted(room for room in floors if floors[room] == floor)))
        for a, b in drawn.back_up:
            print(f"  back up: {a} → {b}")
    print("circles of modules:", " → ".join(circles()) or "none")


if __name__ == "__main__":
    main()
