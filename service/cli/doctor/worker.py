"""What a worker would compute with, as a process of its own finds out: torch is not loaded here."""

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
#: Variables that begin like settings and are none.
_OTHERS = {"STRUCTGUARD_API_KEY", "STRUCTGUARD_SERVER", "STRUCTGUARD_DATA"}


def equipment(settings: ServiceSettings) -> Iterator[Finding]:
    """Device and encoder, and whether the environment means anything to a worker."""
    environment = os.environ | {"STRUCTGUARD_DATA_DIR": str(settings.data_dir)}
    try:
        found = json.loads(run("worker.equipment", failure="", environment=environment))
    except CommandError as error:
        yield _absent(settings, str(error.problem["detail"]))
        return
    yield from _names(found)
    if not found["wrong"]:
        yield _device(found["device"])
        yield _encoder(found["encoder"])


def _absent(settings: ServiceSettings, detail: str) -> Finding:
    if "structguard[worker]" not in detail:
        last = (detail.splitlines() or ["nothing"])[-1]
        return problem("device", f"torch does not load: {last}", "Install the worker's packages again.")
    if settings.broker_url is not None:
        return ok("device", "not looked at: the worker's packages are not here. Run `structguard doctor` there, too")
    mend = "Run `pip install 'structguard[worker]'`, unless the worker runs elsewhere."
    return warning("device", "the worker's packages are not installed here", mend)


def _names(found: dict[str, Any]) -> Iterator[Finding]:
    if found["wrong"]:
        mend = "Put it right: a worker does not start with it."
        yield problem("settings", f"the worker cannot use {', '.join(found['wrong'])}", mend)
    known = {f"STRUCTGUARD_{name}".upper() for name in ServiceSettings.model_fields} | set(found["settings"]) | _OTHERS
    unknown = sorted(
        name for name in os.environ if name.upper().startswith("STRUCTGUARD_") and name.upper() not in known
    )
    if unknown:
        yield warning("settings", f"nothing reads {', '.join(unknown)}", "Look for a slip of the pen.")


def _device(found: dict[str, Any]) -> Finding:
    name = f"{found['device']}, torch {found['torch']}"
    if not found["works"]:
        mend = "Install a driver and a torch that fit the device, or set STRUCTGUARD_DEVICE to another one."
        return problem("device", f"{name}: it does not compute", mend)
    if "model" not in found:
        return ok("device", f"{name}, {found['threads']} threads")
    memory = f"{found['free'] / _GIB:.1f} of {found['total'] / _GIB:.1f} GiB free"
    return ok("device", f"{name}, {found['model']}, {memory}")


def _encoder(found: dict[str, Any]) -> Finding:
    if not found["known"]:
        mend = "Set STRUCTGUARD_OPENCLIP_WEIGHTS to a tag of the model, or to the path of a file."
        return problem("encoder", f"{found['encoder']}: open_clip has no such weights", mend)
    if not found["at_hand"]:
        where = os.environ.get("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
        mend = f"The first run fetches them from the hub into {where}; without a network, put them there before."
        return warning("encoder", f"{found['encoder']}: its weights are not on this machine", mend)
    return ok("encoder", f"{found['encoder']}: its weights are on this machine")
