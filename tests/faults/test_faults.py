import subprocess
import sys

import pytest

SHORT = "--jobs 25 --clients 6 --models 4 --lease 3 --every 1.5 --within 12 --seed 1"


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_whatever_is_killed_nothing_is_lost_and_nothing_happens_twice(database):
    """A short version of what `python -m tests.faults` does to a thousand requests."""
    command = [sys.executable, "-m", "tests.faults", "--database", database, *SHORT.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
