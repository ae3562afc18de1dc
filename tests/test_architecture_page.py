"""The pages that lead through the code name files, folders and definitions that are there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]

#: Something below a folder of the repository, and with `::` a definition in it; `worker/job/attempt.py::run`.
PLACE = re.compile(r"(?<![\w./<-])(?:benchmarks|docker|docs|migrations|service|tests|worker)/[\w./-]*(?:::[\w.]+)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_place_that_is_named_is_there(page: Path) -> None:
    missing = [place for place in places(page.read_text()) if not is_there(place)]
    assert missing == []


def test_the_ways_through_the_house_name_definitions_at_every_stop() -> None:
    ways = re.findall(r"^## The way of an? (\w+)\n(.*?)(?=^## )", ARCHITECTURE.read_text(), re.DOTALL | re.MULTILINE)
    assert [thing for thing, _ in ways] == ["image", "job", "measurement"]
    for _, way in ways:
        stops = re.findall(r"^\| [^|]* \| (`.*) \|$", way, re.MULTILINE)
        assert len(stops) > 10
        assert [stop for stop in stops if "::" not in stop] == []


def test_every_package_stands_in_the_tree() -> None:
    packages = {
        f"{parent}/{path.name}/"
        for parent in ("service", "service/registry", "worker")
        for path in (ROOT / parent).iterdir()
        if any(path.glob("*.py"))
    }
    _, _, tree = ARCHITECTURE.read_text().partition("## What is where")
    listed = {line.split()[0] for line in tree.splitlines() if line}
    assert packages - listed == set()
    assert len(packages) > 30


@pytest.mark.parametrize(
    "place",
    [
        "service/nowhere/",
        "service/nowhere.py",
        "service/app.py::create_nothing",
        "service/app.py::create_app.lifespan",
        "service/registry/tables.py::Job.nothing",
    ],
)
def test_a_wrong_name_is_noticed(place: str) -> None:
    assert [*places(f"It is in `{place}`.")] == [place]
    assert not is_there(place)


def places(text: str) -> Iterator[str]:
    """The files, folders and definitions that a page names; not those of links, which are relative to the page."""
    for place in PLACE.findall(re.sub(r"\]\([^)]*\)", "]", text)):
        yield place.rstrip(".")


def is_there(place: str) -> bool:
    """Whether there is such a file or folder, with such a definition in it."""
    file, _, name = place.partition("::")
    path = ROOT / file
    return (not name and path.exists()) or (path.is_file() and name in definitions(path))


@cache
def definitions(file: Path) -> set[str]:
    """Classes, functions and variables of a module, and as `Class.name` those of its classes."""
    return set(_defined(ast.parse(file.read_text())))


def _defined(scope: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    for node in scope.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _defined(node, f"{prefix}{node.name}.")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))
