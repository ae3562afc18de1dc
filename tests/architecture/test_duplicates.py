"""No ten lines stand in two places: what is the same is shared, and changed once."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A migration is what it was when it was released, so those are left out.
PLACES = ("service/**/*.py", "worker/**/*.py", "benchmarks/**/*.py", "migrations/env.py", "tests/**/*.py")

_LINES = 10
_IMPORT = re.compile(r"^[ \t]*(?:from \S+ )?import (?:\([^)]*\)|.*)", re.MULTILINE)


def test_no_ten_lines_stand_in_two_places():
    assert duplicates(ROOT, (path for place in PLACES for path in ROOT.glob(place))) == []


def test_the_same_ten_lines_are_seen_however_they_are_set(tmp_path):
    """Blank lines, comments and indentation do not hide them, and what every module imports does not count."""
    imports = ["from a import (\n    b,\n    c,\n)", *(f"import m{n}" for n in range(20))]
    shared = [f"x{n} = {n}" for n in range(12)]
    (tmp_path / "one.py").write_text("\n".join([*imports, *shared, "one"]))
    (tmp_path / "two.py").write_text("\n\n    # why\n".join([*imports, "two", *(f"    {line}" for line in shared[1:])]))
    (tmp_path / "short.py").write_text("\n".join([*imports, *shared[:9], "short"]))
    assert duplicates(tmp_path, sorted(tmp_path.glob("*.py"))) == ["one.py:26 two.py:70"]


def duplicates(root: Path, files: Iterable[Path]) -> list[str]:
    """Where ten lines or more are the same, as `file:line` of the first of them in each place."""
    windows = defaultdict(list)
    numbers = {}
    for path in files:
        lines = _code(path.read_text())
        numbers[path] = [number for number, _ in lines]
        for at in range(len(lines) - _LINES + 1):
            windows[tuple(line for _, line in lines[at : at + _LINES])].append((path, at))
    places = {tuple(window) for window in windows.values() if len(window) > 1}
    begin = [each for each in places if tuple((path, at - 1) for path, at in each) not in places]
    return sorted(" ".join(f"{path.relative_to(root)}:{numbers[path][at]}" for path, at in each) for each in begin)


def _code(text: str) -> list[tuple[int, str]]:
    """Number and text of the lines that are neither blank nor a comment nor part of an import."""
    without_imports = _IMPORT.sub(lambda match: "\n" * match.group().count("\n"), text)
    lines = ((number, line.strip()) for number, line in enumerate(without_imports.splitlines(), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]
