"""Device and encoder of a worker, examined in a process of their own: torch is not loaded here."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.cli.exits import CommandError
from service.cli.processes import run
from service.settings import ServiceSettings

_GIB = 1 << 30
#: Variables with the prefix of settings that are none.
_NO_SETTINGS = {"STRUCTGUARD_API_KEY", "STRUCTGUARD_SERVER", "STRUCTGUARD_DATA"}


def equipment(settings: ServiceSettings) -> Iterator[Finding]:
    """Whether device, encoder weights and environment variables are usable for a worker."""
    environment = os.environ | {"STRUCTGUARD_DATA_DIR": str(settings.data_dir)}
    try:
        report = json.loads(run("worker.equipment", failure="", environment=environment))
    except CommandError as error:
        yield _not_loading(settings, str(error.problem["detail"]))
        return
    yield from _variables(report)
    if not report["wrong"]:
        yield _device(report["device"])
        yield _encoder(report["encoder"])


def _not_loading(settings: ServiceSettings, detail: str) -> Finding:
    if "structguard[worker]" not in detail:
        last = (detail.splitlines() or ["nothing"])[-1]
        return problem("device", f"torch does not load: {last}", "Install the worker's packages again.")
    if settings.broker_url is not None:
        return ok("device", "not looked at: the worker's packages are not here. Run `structguard doctor` there, too")
    mend = "Run `pip install 'structguard[worker]'`, unless the worker runs elsewhere."
    return warning("device", "the worker's packages are not installed here", mend)


def _variables(report: dict[str, Any]) -> Iterator[Finding]:
    if report["wrong"]:
        mend = "Put it right: a worker does not start with it."
        yield problem("settings", f"the worker cannot use {', '.join(report['wrong'])}", mend)
    known = {f"STRUCTGUARD_{name}".upper() for name in ServiceSettings.model_fields} | _NO_SETTINGS
    known |= set(report["settings"])
    unknown = sorted(
        name for name in os.environ if name.upper().startswith("STRUCTGUARD_") and name.upper() not in known
    )
    if unknown:
        yield warning("settings", f"nothing reads {', '.join(unknown)}", "Look for a slip of the pen.")


def _device(report: dict[str, Any]) -> Finding:
    name = f"{report['device']}, torch {report['torch']}"
    if not report["works"]:
        mend = "Install a driver and a torch that fit the device, or set STRUCTGUARD_DEVICE to another one."
        return problem("device", f"{name}: it does not compute", mend)
    if "model" not in report:
        return ok("device", f"{name}, {report['threads']} threads")
    memory = f"{report['free'] / _GIB:.1f} of {report['total'] / _GIB:.1f} GiB free"
    return ok("device", f"{name}, {report['model']}, {memory}")


def _encoder(report: dict[str, Any]) -> Finding:
    if not report["known"]:
        mend = "Set STRUCTGUARD_OPENCLIP_WEIGHTS to a tag of the model, or to the path of a file."
        return problem("encoder", f"{report['encoder']}: open_clip has no such weights", mend)
    if not report["at_hand"]:
        where = os.environ.get("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
        mend = f"The first run fetches them from the hub into {where}; without a network, put them there before."
        return warning("encoder", f"{report['encoder']}: its weights are not on this machine", mend)
    return ok("encoder", f"{report['encoder']}: its weights are on this machine")
