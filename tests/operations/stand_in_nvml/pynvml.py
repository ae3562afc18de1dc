"""In place of NVIDIA's library where there is no GPU: one GPU that tells everything, and one that is a slice of one."""

from types import SimpleNamespace

NVML_TEMPERATURE_GPU = 0


class NVMLError(Exception):
    pass


def nvmlInit():  # noqa: N802
    pass


def nvmlDeviceGetCount():  # noqa: N802
    return 2


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    return index


def nvmlDeviceGetMemoryInfo(gpu):  # noqa: N802
    return SimpleNamespace(used=3 << 30, total=80 << 30)


def nvmlDeviceGetUtilizationRates(gpu):  # noqa: N802
    if gpu == 1:
        raise NVMLError("not supported")
    return SimpleNamespace(gpu=97, memory=40)


def nvmlDeviceGetTemperature(gpu, sensor):  # noqa: N802
    return 61
