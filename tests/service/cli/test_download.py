import hashlib
import re

import pytest

from service.cli.client import Client
from service.cli.download import download
from service.cli.exits import CommandError, Unreachable
from tests.service.cli.scripted_server import Answer, document, scripted

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()
VERSION = {"number": 2, "gate": None, "sha256": DIGEST, "size": len(CONTENT), "links": {"checkpoint": "/checkpoint"}}


def from_range(request, **answer_fields):
    """Answer a range as the service does, if it is asked for one of this very file."""
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range") != f'"sha256:{DIGEST}"':
        return Answer(CONTENT, **answer_fields)
    return Answer(CONTENT[int(match[1]) :], 206, **answer_fields)


def fetch(address, target):
    done = []
    with Client(address) as client:
        download(client, VERSION, target, done.append)
    return done


def test_a_broken_connection_is_resumed(tmp_path):
    """The second request asks for the rest only."""
    broken = iter([1000, None])
    with scripted(lambda request: from_range(request, cut=next(broken))) as (address, seen):
        done = fetch(address, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in seen] == [None, "bytes=1000-"]
    assert done[-1] == len(CONTENT)


def test_a_download_that_broke_earlier_is_continued(tmp_path):
    """By another process, days later."""
    (tmp_path / f"out.{DIGEST[:12]}.part").write_bytes(CONTENT[:4000])
    with scripted(from_range) as (address, seen):
        fetch(address, tmp_path / "out")
    assert [request.headers.get("Range") for request in seen] == ["bytes=4000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_server_without_ranges_sends_everything_again(tmp_path):
    """A 200 starts at the first byte."""
    (tmp_path / f"out.{DIGEST[:12]}.part").write_bytes(b"x" * 4000)
    with scripted(lambda _: Answer(CONTENT)) as (address, _):
        fetch(address, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_damaged_bytes_are_not_kept(tmp_path):
    """An older file under the same name stays."""
    (tmp_path / "out").write_bytes(b"older")
    with scripted(lambda _: Answer(CONTENT[:-1] + b"!")) as (address, _), pytest.raises(CommandError, match="damaged"):
        fetch(address, tmp_path / "out")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"older")]


def test_damaged_bytes_are_an_error_of_the_command(structguard, tmp_path):
    """Exit code 1, and the words say why."""
    answers = {"/v1/models/pets/versions/2": document(VERSION), "/checkpoint": Answer(b"?" * len(CONTENT))}
    with scripted(lambda request: answers[request.path]) as (address, _):
        ran = structguard("download", "pets", "--version", "2", "-o", tmp_path / "out", "--server", address)
    assert ran.code == 1
    assert "SHA-256 is not the registered one" in ran.err


def test_a_connection_that_only_breaks_is_given_up(tmp_path, monkeypatch):
    """What arrived is kept for the next time."""
    monkeypatch.setattr("service.cli.download._PAUSE", 0)
    with (
        scripted(lambda request: from_range(request, cut=0 if "Range" in request.headers else 10)) as (address, _),
        pytest.raises(Unreachable, match="keeps breaking"),
    ):
        fetch(address, tmp_path / "out")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [CONTENT[:10]]


def test_what_is_there_already_is_not_fetched_again(tmp_path):
    """Its digest tells."""
    (tmp_path / "out").write_bytes(CONTENT)
    with scripted(from_range) as (address, seen):
        fetch(address, tmp_path / "out")
    assert seen == []
