"""Confine this process to what it needs to read one file and write another."""

import ctypes
import os
import resource
import sys

_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000  # unshare(2)
_MEMORY = 2 << 30  # bytes, beside what the file itself needs
_SECONDS = 600  # of processor time


def confine(size: int) -> bool:
    """Limit memory, files and time to what a conversion of `size` bytes needs, and leave the network.

    To be called before threads start. Returns whether the network could be left: that takes Linux and the right to
    make namespaces.
    """
    for limit, maximum in (
        (resource.RLIMIT_DATA, _MEMORY + 6 * size),
        (resource.RLIMIT_FSIZE, 2 * size + (1 << 20)),  # tied weights are written under each of their names
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        value = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
        resource.setrlimit(limit, (value, value))
    # One thread: the stacks of a hundred would take the memory, and the network cannot be left by more than one.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK) == 0)
