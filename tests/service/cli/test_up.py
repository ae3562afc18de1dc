import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
import pytest

from service.cli.stack import free_port


@pytest.fixture
def up(tmp_path):
    """Starts `structguard up`; gives the process, the document that it prints, and its children."""
    started = []

    def start():
        command = [sys.executable, "-m", "service.cli", "up", "--data", tmp_path, "--port", str(free_port()), "--json"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STRUCTGUARD_")}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process, json.loads(process.stdout.readline()), children(process.pid)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children(pid):
    """The processes that this one has started, by what they run."""
    return {child.cmdline()[2]: child for child in psutil.Process(pid).children()}


def all_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=15)
    return not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_both_and_succeeds(up, number):
    """Service and worker run until then, and log to files."""
    process, document, started = up()
    assert started.keys() == {"service", "worker"}
    assert httpx2.get(f"{document['server']}/readyz").status_code == 200
    assert all(Path(log).exists() for log in document["logs"].values())

    process.send_signal(number)

    assert process.wait(timeout=20) == 0
    assert all_gone(started.values())


def test_killed_it_leaves_nobody_behind(up):
    """SIGKILL gives it no chance, so the kernel ends its children."""
    process, _, started = up()
    process.kill()
    process.wait()
    assert all_gone(started.values())


@pytest.mark.parametrize(("victim", "other"), [("service", "worker"), ("worker", "service")])
def test_when_one_dies_the_other_is_stopped_and_it_says_so(up, victim, other):
    """Half a stack would look alive and do nothing."""
    process, document, started = up()

    started[victim].kill()

    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"The {victim} was killed by SIGKILL. Its log is {document['logs'][victim]}" in errors
    assert all_gone([started[other]])


def test_a_busy_port_is_refused_before_anything_starts(structguard, tmp_path):
    """With what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = structguard("up", "--data", tmp_path / "data", "--port", taken.getsockname()[1])
    assert ran.code == 1
    assert "Address already in use" in ran.err
    assert "--port" in ran.err


def test_a_setting_that_cannot_be_is_named(structguard, tmp_path, monkeypatch):
    """The variable, not a traceback."""
    monkeypatch.setenv("STRUCTGUARD_LEASE", "soon")
    ran = structguard("up", "--data", tmp_path)
    assert (ran.code, ran.err) == (1, "The environment is not right: STRUCTGUARD_LEASE.\n")


def test_a_database_that_is_away_is_named(structguard, tmp_path, monkeypatch):
    """Without the password that is in its address."""
    monkeypatch.setenv("STRUCTGUARD_DATABASE_URL", f"postgresql+psycopg://u:secret@127.0.0.1:{free_port()}/x")
    ran = structguard("up", "--data", tmp_path)
    assert ran.code == 1
    assert "The database cannot be prepared." in ran.err
    assert "secret" not in ran.err
