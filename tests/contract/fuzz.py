"""`python -m tests.contract.fuzz`: thousands of requests made up from the description, on both databases.

What comes back must be as described. It takes minutes; test_fuzzed.py is a short run of the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from service.registry.storage import schema
from service.registry.storage.database import Database
from tests.conftest import new_postgresql_database
from tests.contract.serving import serving

ROOT = Path(__file__).parents[2]


def fuzz(database, folder, *options):
    """Run Schemathesis against the service on this database: its exit code, its report, and where its output is."""
    with serving(database, folder) as served:
        users, report, output = (folder / name for name in ("users.json", "report.json", "output.txt"))
        users.write_text(json.dumps({"auth": [_user("acme", served.key), _user("globex", served.other_key)]}))
        with output.open("w") as out:
            process = subprocess.run(
                [
                    *(sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/contract/schemathesis.toml"),
                    *("run", f"{served.address}/openapi.json", "--no-color"),
                    *("--report", "json", "--report-json-path", report, *options),
                ],
                cwd=ROOT,
                env={**os.environ, "FUZZ_USERS": str(users), "FUZZ_KEY_ID": served.key_id},
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        return process.returncode, json.loads(report.read_text()) if report.exists() else None, output


def _user(name, key):
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}


@contextmanager
def new_sqlite_database(folder):
    """A migrated SQLite database in this folder."""
    database = Database(f"sqlite:///{folder}/registry.sqlite")
    schema.upgrade(database)
    yield database
    database.close()


def main():
    """Fuzz both; the exit code is 1 if one of them found anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-examples", default="90", help="of each operation and phase; default: %(default)s")
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="default: both")
    chosen, options = parser.parse_known_args()
    failed = False
    for name in [chosen.only] if chosen.only else ["sqlite", "postgresql"]:
        print(f"{name}: this takes minutes", flush=True)
        with tempfile.TemporaryDirectory(prefix="structguard-fuzz-") as folder:
            new = new_sqlite_database(folder) if name == "sqlite" else new_postgresql_database()
            with new as database:
                code, report, output = fuzz(
                    database, Path(folder) / "data", "--max-examples", chosen.max_examples, *options
                )
            failed = failed or code != 0
            if code:
                print(output.read_text())
            if report:
                cases = report["test_cases"]
                print(
                    f"{name}: {cases['generated']} cases of {report['operations']['tested']} operations in "
                    f"{report['running_time']:.0f} s, {cases['unique_failures']} failures"
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
