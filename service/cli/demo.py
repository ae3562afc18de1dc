"""The demo: train, register, forget, download, compare. Everything after the training goes over HTTP."""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.cli import following, render, uploads
from service.cli.client import API_KEY, Client
from service.cli.download import download
from service.cli.output import Output
from service.cli.processes import resident_bytes, run
from service.cli.stack import Stack
from service.registry.states import State

MODEL = "digits"
_MAX_TEST_DROP = 5.0  # percentage points

Document = dict[str, Any]


def demonstrate(output: Output, running: Stack, environment: Mapping[str, str], api_key: str, *, keep: bool) -> bool:
    """Run the demo against `running` and print its report; whether `succeeded` holds."""
    began = time.monotonic()
    output.say(f"The service answers on {running.server} after {running.start_seconds:.1f} s.")
    files = running.data_dir / "demo"
    trained = _train(files, environment)
    output.say(
        f"Trained a network on handwritten digits in {time.monotonic() - began:.1f} s: "
        f"{trained['test_accuracy']:.1f} % of the test images are right."
    )
    with Client(running.server, api_key=api_key) as client:
        request = _forget(output, client, files, running)
        job = client.get(request["links"]["job"])
        unlearned = _fetch(client, request, files)
    report = {
        "server": running.server,
        "dashboard": f"{running.server}/dashboard/",
        "api_key": api_key,
        "files": str(files),
        "checkpoint": None if unlearned is None else str(unlearned),
        "request": request,
        "seconds": {"service_start": running.start_seconds, **job["seconds"], "demo": time.monotonic() - began},
        "worker_peak_bytes": job["peak_memory_bytes"],
        "service_resident_bytes": resident_bytes(running.processes["service"].pid),
    }
    output.result(report, "", render.metrics(request["metrics"]), "", _cost_table(report, running), "")
    output.say("Try next:", *(f"  {line}" for line in _next_commands(report, running, keep=keep)))
    return succeeded(request)


def succeeded(request: Document) -> bool:
    """Whether A_f is 100 % and A_test dropped by `_MAX_TEST_DROP` points at most."""
    if request["state"] != State.COMPLETED:
        return False
    before, after = request["metrics"]["before"], request["metrics"]["after"]
    dropped = before["test_accuracy"] - after["test_accuracy"]
    return bool(after["forget_accuracy"] == 100 and dropped <= _MAX_TEST_DROP)


def _train(files: Path, environment: Mapping[str, str]) -> Document:
    printed = run(
        "worker.digits",
        str(files),
        "--seed",
        "0",
        environment=environment,
        failure="The classifier could not be trained.",
    )
    trained: Document = json.loads(printed)
    return trained


def _forget(output: Output, client: Client, files: Path, running: Stack) -> Document:
    """Register the model and what it is measured on, ask for the deletion, and wait for its end."""
    policy = {"max_test_accuracy_drop": _MAX_TEST_DROP}
    uploads.register_model(client, {"name": MODEL, "description": "scikit-learn's digits", "policy": policy})
    version_metadata = json.loads((files / "model.json").read_text())
    version = uploads.register_version(client, MODEL, version_metadata, files / "model.safetensors")
    sets = [uploads.add_evaluation_set(client, MODEL, kind, files / f"{kind}.npz") for kind in ("test", "retain")]
    counts = " and ".join(f"{item['count']} {item['kind']} images" for item in sets)
    output.say(f"Registered {MODEL} version {version['number']} with {counts}.")
    metadata = {
        "model": MODEL,
        "labels": json.loads((files / "forget" / "labels.json").read_text()),
        "regulation": "gdpr",
        # Variations of an 8 × 8 digit are other people's digits: forgetting those too would cost the model its use.
        "options": {"scope": "exact"},
    }
    images = sorted((files / "forget").glob("*.png"))
    request = uploads.request_deletion(client, metadata, images)
    output.say(f"Asked to forget {len(images)} images: request {request['id']}.")
    return following.show(output, following.changes(client, request["id"], on_poll=running.check))


def _fetch(client: Client, request: Document, files: Path) -> Path | None:
    """The new version's checkpoint, if there is one."""
    if request["version"] is None:
        return None
    target = files / f"{MODEL}-v{request['version']}.safetensors"
    download(client, client.get(request["links"]["version"]), target, lambda _: None)
    return target


def _cost_table(report: Document, running: Stack) -> Any:
    seconds = report["seconds"]
    phases = ", ".join(
        f"{phase} {duration:.1f} s" for phase, duration in seconds.items() if phase not in {"service_start", "demo"}
    )
    return render.facts(
        {
            "state": report["request"]["state"],
            "reason": report["request"]["reason"],
            "run": phases,
            "worker, peak memory": render.mebibytes(report["worker_peak_bytes"]),
            "service, start": f"{seconds['service_start']:.1f} s",
            "service, memory": render.mebibytes(report["service_resident_bytes"]),
            "all together": f"{seconds['demo'] + seconds['service_start']:.1f} s",
            "new checkpoint": report["checkpoint"],
            "dashboard": report["dashboard"],
            "files": report["files"],
            "logs": running.data_dir / "logs",
        }
    )


def _next_commands(report: Document, running: Stack, *, keep: bool) -> list[str]:
    """Lines to paste into a shell; where the service ends with the demo, the first one starts it again."""
    server, port = f"--server {running.server}", running.server.rpartition(":")[2]
    folder = Path(report["files"], "forget")
    label = json.loads((folder / "labels.json").read_text())[0]
    name = program()
    data = shlex.quote(str(running.data_dir))
    restart = [] if keep else [f"{name} up --data {data} --port {port}  # in another shell"]
    return [
        *restart,
        f"export {API_KEY}={report['api_key']}",
        f"{name} status {report['request']['id']} {server}",
        f"{name} download {MODEL} --version latest {server}",
        f"{name} forget {MODEL} {shlex.quote(str(folder / '00.png'))} --label {label} --scope exact --watch {server}",
        f"curl --oauth2-bearer ${API_KEY} {running.server}/v1/models/{MODEL}/versions",
    ]


def program() -> str:
    """The shell command that starts this program, as it was started now."""
    if shutil.which("structguard"):
        return "structguard"
    script = Path(sys.argv[0])
    return f"{sys.executable} -m service.cli" if script.name == "__main__.py" else shlex.quote(str(script))
