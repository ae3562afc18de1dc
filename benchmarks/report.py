"""Render all results: `python -m benchmarks.report` writes the tables of RESULTS.md and the plots."""

from pathlib import Path

from benchmarks import plots, targets
from benchmarks.columns import COLUMNS, spread
from benchmarks.results import RESULTS, Row, for_all_seeds, is_current, rows
from benchmarks.tables import TABLES, Table

PAGE = Path(__file__).with_name("RESULTS.md")
PLOTS = Path(__file__).with_name("plots")
BEGIN, END = "<!-- begin: written by python -m benchmarks.report -->", "<!-- end -->"
CHANGED = "†"
SELECTION_SEEDS = range(100, 110)


def reported(measured: list[Row]) -> list[Row]:
    """Without the rows on which settings are chosen."""
    return [row for row in measured if row["seed"] not in SELECTION_SEEDS]


def render(name: str, table: Table, measured: list[Row], own: list[Row]) -> str | None:
    """The section of a table in Markdown, None if nothing of it is measured.

    `own` are the rows that the table's own command measured: their subjects and k are shown besides the usual ones.
    """
    ks = {*table.ks, *(row["k"] for row in own)}
    subjects = {(table.dataset, table.model), *((row["dataset"], row["model"]) for row in own)}
    shown = [row for row in measured if row["k"] in ks and (row["dataset"], row["model"]) in subjects]
    blocks = {(row["dataset"], row["model"], row["device"], row["k"]) for row in shown}
    lines, used, changed = list[str](), list[Row](), False
    for dataset, model, device, k in sorted(blocks):
        runs = {
            label: variant.run(dataset=dataset, model=model, k=k, seed=0, device=device)
            for label, variant in table.variants.items()
        }
        cells = {label: cell for label, run in runs.items() if (cell := for_all_seeds(measured, run))}
        is_own = any(
            (row["dataset"], row["model"], row["device"], row["k"]) == (dataset, model, device, k) for row in own
        )
        if len(cells) < min(2, len(table.variants)) and not is_own:  # nothing to compare with
            continue
        for label, cell in cells.items():
            mark = "" if all(is_current(row) for row in cell) else f" {CHANGED}"
            changed = changed or bool(mark)
            figures = (
                spread(map(COLUMNS[column].value, cell), digits=COLUMNS[column].digits) for column in table.columns
            )
            lines.append(f"| {dataset} {model} {device} | {k} | {label}{mark} | {len(cell)} | {' | '.join(figures)} |")
            used += cell
    if not lines:
        return None
    dates = [row["date"][:10] for row in used]
    machines = sorted({_machine(row) for row in used})
    return "\n".join(
        [
            f"### {table.title}",
            "",
            f"{table.note} `python -m benchmarks{'.table2' if name == 'table2' else ' ' + name}`",
            "",
            f"| | k | | n | {' | '.join(table.columns)} |",
            "|---" * (4 + len(table.columns)) + "|",
            *lines,
            "",
            *([f"{CHANGED} measured with settings that have changed since.", ""] if changed else []),
            f"Measured on {'; '.join(machines)}, {min(dates)} to {max(dates)}.",
            "",
        ]
    )


def _machine(row: Row) -> str:
    suffix = "" if row.get("bfloat16", True) else ", no bfloat16"
    return f"{row['machine']}, {row['threads']} thread(s), torch {row['torch']}{suffix}"


def page(folder: Path) -> str:
    """The generated part of RESULTS.md."""
    measured = reported(rows(folder))
    tables = [render(name, table, measured, reported(rows(folder, f"{name}.jsonl"))) for name, table in TABLES.items()]
    return "\n".join(["### Targets", "", targets.render(measured), *(text for text in tables if text)])


def write() -> None:
    """Put the tables between the two markers of RESULTS.md, below them the plots, and draw those."""
    drawn = plots.draw([row for row in reported(rows(RESULTS)) if is_current(row)], PLOTS)  # plots have no † mark
    pictures = "\n".join(f"![{title}](plots/{path.name})\n" for title, path in drawn.items())
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n\n{page(RESULTS)}\n{pictures}\n{END}{tail}")


if __name__ == "__main__":
    write()
