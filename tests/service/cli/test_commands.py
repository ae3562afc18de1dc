import hashlib

import numpy as np
import pytest

from service.cli.client import Client
from tests.service.cli.scripted_server import document, script, scripted


def test_registering_creates_the_model_a_version_and_its_sets(register, files, server):
    """One command is enough to have something that can forget."""
    ran = register("new", "--test-set", files / "holdout.npz", "--max-drop", "3", "--json")

    assert ran.code == 0, ran.err
    assert ran.document["version"]["number"] == 1
    assert ran.document["evaluation_sets"]["test"]["name"] == "holdout"
    assert ran.document["evaluation_sets"]["test"]["count"] == 4
    with Client(server) as client:
        assert client.get("/v1/models/new")["policy"]["max_test_accuracy_drop"] == 3


def test_a_checkpoint_travels_with_its_digest(structguard, files):
    """So that the service can tell whether all of it arrived."""
    answers = script(document({}, 201), document({"number": 1, "sha256": ""}, 201))
    with scripted(answers) as (address, seen):
        structguard(
            *("register", "sent", "--architecture", "cifar_resnet8", "--checkpoint", files / "model.safetensors"),
            *("--classes", "cat,dog", "--size", "8", "--mean", "0,0,0", "--std", "1,1,1", "--server", address),
        )
    digest = hashlib.sha256((files / "model.safetensors").read_bytes()).hexdigest()
    assert f'"sha256": "{digest}"'.encode() in seen[1].body


def test_registering_again_adds_a_version_and_says_what_stays(register, files):
    """The policy belongs to the model, so the second command cannot change it."""
    register("twice")

    ran = register("twice", "--max-drop", "1", classes=f"@{files / 'classes.txt'}")

    assert ran.code == 0
    assert "twice version 2" in ran.out
    assert "pool stay as they are" in ran.out


def test_a_refusal_is_shown_with_its_places(register):
    """Exit code 3; the person reads it on stderr, nothing is on stdout."""
    ran = register("refused", classes="cat,dog,bird")

    assert ran.code == 3
    assert ran.out == ""
    assert "does not fit the architecture" in ran.err
    assert "#/checkpoint  linear.weight has shape" in ran.err


def test_a_refusal_is_the_one_json_document(register):
    """Programs get the server's problem as it is."""
    ran = register("refused", "--json", classes="cat,dog,bird")

    assert ran.code == 3
    assert ran.document["status"] == 422
    assert {error["pointer"] for error in ran.document["errors"]} == {"#/checkpoint"}


def test_a_request_is_sent_seen_and_withdrawn(structguard, register, server, pictures):
    """From the upload to the end, without a worker."""
    register("pets")
    sent = structguard("forget", "pets", *pictures, "--labels", "cat,1", "--server", server, "--json").document

    shown = structguard("status", sent["id"], "--server", server, "--json").document
    listed = structguard("status", "--model", "pets", "--server", server)
    cancelled = structguard("cancel", sent["id"], "--server", server)
    watched = structguard("watch", sent["id"], "--server", server)
    retried = structguard("retry", sent["id"], "--server", server)

    assert (shown["state"], shown["sample_count"], shown["waiting_on"]) == ("queued", 2, "worker")
    assert sent["id"] in listed.out
    assert "queued" in listed.out
    assert (cancelled.code, cancelled.out) == (0, f"{sent['id']} is cancelled.\n")
    assert watched.code == 5
    assert "withdrawn" in watched.out
    assert retried.code == 3


@pytest.mark.parametrize("option", ["--labels", "--label"])
def test_a_class_that_is_called_by_a_number_is_meant_by_its_name(structguard, files, pictures, option):
    """It is sent as the text that it is, and the service takes a name before a position."""
    with scripted(script(document({"id": "r", "due_at": "2030-01-01T00:00:00Z", "reach": []}, 202))) as (address, seen):
        structguard("forget", "numbers", pictures[0], option, "1", "--server", address)
    assert b'"labels": ["1"]' in seen[0].body


def test_options_reach_the_job(structguard, register, server, pictures, files):
    """Own anchors are registered for the classes of the newest version, and named in the request."""
    register("tuned")
    register("others")
    ran = structguard(
        *("forget", "tuned", *pictures, "--label", "dog", "--regulation", "ccpa", "--scope", "exact", "--seed", "7"),
        *("--goal", "indistinguishable", "--references", "others/1"),
        *("--anchors", files / "anchors.npz", "--server", server, "--json"),
    )

    assert ran.code == 0, ran.err
    with Client(server) as client:
        options = client.get(ran.document["links"]["job"])["options"]
    assert (options["scope"], options["seed"], options["encoder"]) == ("exact", 7, "precomputed")
    assert options["goal"] == "indistinguishable"
    assert options["references"] == [{"model": "others", "version": 1}]
    assert ran.document["regulation"] == "ccpa"


@pytest.mark.parametrize("named", ["--subject-id", "--sample-ids"])
def test_a_person_or_records_are_named_instead_of_images(structguard, register, server, tmp_path, named):
    """The service looks them up; here, in a model without a manifest, it finds nobody, and the answer says no name."""
    register("named")
    (tmp_path / "who.txt").write_text("erika\n")
    for who in ("erika", f"@{tmp_path / 'who.txt'}"):
        ran = structguard("forget", "named", named, who, "--server", server)
        assert ran.code == 3
        assert "no manifest of the model's lineage has" in ran.err
        assert "erika" not in ran.err


def test_every_limit_of_the_policy_has_an_option(register, server):
    """The two of them must not drift apart."""
    limits = {
        "--parent-disposition": "quarantine",
        "--max-drop": 1,
        "--max-collapse": 0.5,
        "--min-robust": 70,
        "--max-membership": 0.2,
    }
    register("strict", *(part for option in limits.items() for part in option), "--approval", "--pool", "default")
    with Client(server) as client:
        model = client.get("/v1/models/strict")
    assert list(model["policy"].values()) == list(limits.values())
    assert (model["approval_required"], model["pool"]) == (True, "default")


def test_an_archive_brings_its_own_labels(structguard, register, server, files):
    """An npz is sent as it is."""
    register("archived")
    ran = structguard("forget", "archived", files / "holdout.npz", "--server", server, "--json")
    assert ran.document["sample_count"] == 4


def test_labels_come_from_a_file(structguard, register, server, pictures, tmp_path):
    """What does not fit on a command line."""
    register("filed")
    (tmp_path / "labels.json").write_text('["cat", 1]')
    labels = f"@{tmp_path / 'labels.json'}"
    assert structguard("forget", "filed", *pictures, "--labels", labels, "--server", server).code == 0


@pytest.mark.parametrize("version", ["latest", "1"])
def test_a_checkpoint_comes_back_whole(structguard, register, server, files, tmp_path, version):
    """The same bytes, under the name that was asked for, and nothing else."""
    register(f"served-{version}")
    target = tmp_path / "out.safetensors"

    ran = structguard("download", f"served-{version}", "--version", version, "-o", target, "--server", server, "--json")

    assert ran.code == 0, ran.err
    assert target.read_bytes() == (files / "model.safetensors").read_bytes()
    assert ran.document["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert list(tmp_path.iterdir()) == [target]


def test_a_version_that_is_not_there_is_refused(structguard, register, server):
    """With the service's own words."""
    register("single")
    ran = structguard("download", "single", "--version", "9", "--server", server)
    assert ran.code == 3
    assert "no such version" in ran.err


def test_an_unreadable_npz_of_images_is_refused_with_its_place(structguard, register, server, tmp_path):
    """Faults in files are pointed at, too."""
    register("faulty")
    np.savez(tmp_path / "bad.npz", images=np.zeros((1, 8, 8), np.uint8), labels=np.array([5]))
    ran = structguard("forget", "faulty", tmp_path / "bad.npz", "--server", server)
    assert ran.code == 3
    assert "#/images/0/labels/0  must be 0 to 1" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--server", "localhost:8000"], "named by its URL"),
        (["forget", "pets", "missing.png"], "does not exist"),
        (["download", "pets", "--version", "newest"], "a number or `latest`"),
        (["unlearn"], "No such command"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(structguard, arguments, message):
    """Exit code 2, before anything is sent."""
    ran = structguard(*arguments)
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize(
    "more",
    [
        ["--labels", "a,b", "--label", "a"],
        ["--labels", "@missing.json"],
        ["--anchors", __file__, "--encoder", "minilm"],
        ["--subject-id", "erika"],
        ["--sample-ids", "1,2"],
    ],
)
def test_contradicting_options_of_forget_are_usage_errors(structguard, pictures, more):
    """They are noticed here, not by the server."""
    assert structguard("forget", "pets", *pictures, *more).code == 2


@pytest.mark.parametrize(
    "more", [[], ["--subject-id", "a", "--sample-ids", "b"], ["--subject-id", "a", "--label", "b"]]
)
def test_something_has_to_be_named_and_in_one_way(structguard, more):
    assert structguard("forget", "pets", *more).code == 2


def test_help_tells_the_exit_codes(structguard):
    """Of the program and of each command."""
    assert "Exit codes: 0 done; 1 something" in " ".join(structguard("--help").out.split())
    assert "6 waited for a request" in " ".join(structguard("watch", "--help").out.split())
