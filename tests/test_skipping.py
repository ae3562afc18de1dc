"""A skipped test fails the whole run in CI, and only there, however many processes run the tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = ("-p", "tests.skipping", "-p", "xdist")
SUITE = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skipif(True, reason="it is the wrong sort of day")
def test_that_does_not():
    pass
"""


@pytest.fixture
def outcome(tmp_path):
    """Runs a suite of two tests, one of them skipped, under the hooks of this suite: exit code and output."""
    (tmp_path / "test_two.py").write_text(SUITE)

    def run(*options, ci):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--rootdir", tmp_path, *PLUGINS, *options, tmp_path],
            cwd=Path(__file__).parents[1],
            env=environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | ({"CI": "true"} if ci else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize("options", [[], ["-n", "2", "--dist", "worksteal"]], ids=["alone", "in parallel"])
def test_in_ci_a_skipped_test_is_a_failure_that_says_so(outcome, options):
    code, printed = outcome(*options, ci=True)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "FAILED: 1 skipped, and CI is to run everything" in printed


def test_elsewhere_it_is_none(outcome):
    assert outcome(ci=False)[0] == pytest.ExitCode.OK
