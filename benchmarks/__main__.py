"""Measure one table and render all of them: `python -m benchmarks ablation --k 64 --seeds 0 1 2`."""

import argparse
import sys

from benchmarks import report
from benchmarks.campaign import campaign
from benchmarks.data import DATASETS
from benchmarks.networks import NETWORKS
from benchmarks.tables import TABLES, grid


def main(name: str | None = None) -> None:
    """Run the table `name`, or the one that the command line begins with. Exits with 1 if a run failed."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks{'.' + name if name else ''}", description=__doc__)
    if name is None:
        parser.add_argument("table", choices=TABLES)
    parser.add_argument("--dataset", choices=DATASETS)
    parser.add_argument("--model", choices=NETWORKS)
    parser.add_argument("--k", type=int, nargs="+", help="images to forget")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        help="of the forget sets; 100 to 109 are for choosing settings and stay out of the tables",
    )
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows of the table")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch, per run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; seconds are worth most with one")
    parser.add_argument("--force", action="store_true", help="also what has been measured")
    arguments = parser.parse_args()
    name = name or arguments.table
    table = TABLES[name]
    if unknown := set(arguments.only or []) - table.variants.keys():
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(table.variants)}")
    runs = grid(
        table,
        dataset=arguments.dataset or table.dataset,
        model=arguments.model or table.model,
        ks=arguments.k or table.ks,
        seeds=table.seeds if arguments.seeds is None else arguments.seeds,
        labels=arguments.only or table.variants,
        device=arguments.device,
    )
    failed = campaign(name, runs, force=arguments.force, threads=arguments.threads, jobs=arguments.jobs)
    report.write()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
