"""In CI a test that was skipped is one that nobody ran."""

import os

import pytest


def pytest_sessionfinish(session, exitstatus):
    if _skipped_in_ci(session.config.pluginmanager.getplugin("terminalreporter")) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if skipped := _skipped_in_ci(terminalreporter):
        terminalreporter.write_line(f"FAILED: {len(skipped)} skipped, and CI is to run everything", red=True)


def _skipped_in_ci(reporter):
    """Of several processes, only the one that hands out the tests has a reporter, and it hears of all of them."""
    return reporter.stats.get("skipped", []) if reporter and "CI" in os.environ else []
