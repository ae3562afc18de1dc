"""Results as they lie on the disk, one JSON line a run, and which of them belong to what is asked for."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import methods
from benchmarks.run import Run

RESULTS = Path(__file__).with_name("results")

Row = dict[str, Any]  # what `benchmarks.run` prints

_OF_VIEWS = ("view_target", "stored_views", "views_per_image")


def rows(folder: Path, files: str = "*.jsonl") -> list[Row]:
    """All results in the folder's files of that name, oldest first in each."""
    return [json.loads(line) for file in sorted(folder.glob(files)) for line in file.read_text().splitlines()]


def is_of(row: Row, run: Run) -> bool:
    """Whether the row is a result of this run, with whatever settings its method had then."""
    return all(row[name] == value for name, value in asdict(run).items())


def is_current(row: Row) -> bool:
    """Whether the method's settings are still those that the row was measured with."""
    present = methods.as_json(methods.settings(row["method"], row["overrides"]))
    return _same(row["settings"], json.loads(json.dumps(present)))


def for_all_seeds(measured: Iterable[Row], run: Run) -> list[Row]:
    """The rows of this run for whichever seed, in their order; of each seed the newest.

    Only those with the settings of the newest of them: others would be another method under the same name.
    """
    found = sorted((row for row in measured if is_of(row | {"seed": run.seed}, run)), key=lambda row: str(row["date"]))
    by_seed = {row["seed"]: row for row in found if _same(row["settings"], found[-1]["settings"])}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _same(settings: Row, newer: Row) -> bool:
    """A setting that came later has its default, which is taken to leave a method as it was.

    Of one whose default does not, write into the older rows what it was to them.
    """
    return _acting(newer) | _acting(settings) == _acting(newer)


def _acting(settings: Row) -> Row:
    """Without those that nothing looks at in the scope `exact`."""
    return settings if settings.get("scope") != "exact" else {n: v for n, v in settings.items() if n not in _OF_VIEWS}
