import pytest
import torch

from worker.unlearning.precision import autocast, has_bfloat16

CPU = torch.device("cpu")


@pytest.fixture
def instructions(monkeypatch):
    """What the CPU shall be able to do."""

    def set_(*names):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True) | {"amx_bf16": False})

    return set_


def product():
    return torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype


def test_a_cpu_with_instructions_for_bfloat16_uses_it_if_that_is_wanted(instructions):
    instructions("avx2", "avx512_bf16")
    with autocast(CPU, bfloat16=True):
        assert product() == torch.bfloat16
    with autocast(CPU, bfloat16=False):
        assert product() == torch.float32


def test_others_stay_at_float32(instructions):
    """Where it is emulated, a step takes ten times as long."""
    instructions("avx2", "avx512_f")
    with autocast(CPU, bfloat16=True):
        assert product() == torch.float32


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_is_asked_itself(monkeypatch, native):
    """Older ones emulate it, which does not count."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: native or including_emulation)
    assert has_bfloat16(torch.device("cuda")) is native
