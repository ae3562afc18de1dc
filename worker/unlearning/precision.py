"""Where to compute in bfloat16: only where there are instructions for it, or it takes many times as long."""

import torch

_OF_CPUS = ("avx512_bf16", "amx_bf16")  # as torch.cpu.get_capabilities calls them; nobody has measured ARM's


def autocast(device: torch.device, *, bfloat16: bool) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, if that is wanted and the device has it; else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16 and has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is native there. Torch computes in it everywhere, on CPUs without it in its slowest loops."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(torch.cpu.get_capabilities().get(name) for name in _OF_CPUS)
