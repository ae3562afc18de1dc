"""Stored results, one JSON line a run, and which of them belong to a run."""

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
    matches = sorted(
        (row for row in measured if is_of(row | {"seed": run.seed}, run)), key=lambda row: str(row["date"])
    )
    by_seed = {row["seed"]: row for row in matches if _same(row["settings"], matches[-1]["settings"])}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _same(settings: Row, newer: Row) -> bool:
    """Whether the settings are the same; one that is newer than the row is taken to have had its present default.

    If a new setting's default changes the method, its former value has to be written into the older rows.
    """
    return _effective(newer) | _effective(settings) == _effective(newer)


def _effective(settings: Row) -> Row:
    """The settings without those that have no effect in the scope `exact`."""
    return settings if settings.get("scope") != "exact" else {n: v for n, v in settings.items() if n not in _OF_VIEWS}
