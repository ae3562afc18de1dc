"""A module is short enough to be read as a whole; only the tables stay one declaration, however many they are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("service/**/*.py", "worker/**/*.py", "benchmarks/**/*.py", "migrations/env.py")
TABLES = ROOT / "service/registry/tables.py"

_MOST = 300


def test_no_module_but_the_tables_is_long():
    files = {path for place in PLACES for path in ROOT.glob(place)} - {TABLES}
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > _MOST} == {}
