"""Prometheus metrics of this machine's GPUs, read through NVML. Without NVIDIA's driver there are none."""

from collections.abc import Callable, Iterator

import pynvml
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Name, help text, and how the value is read from an NVML device handle.
_READINGS: tuple[tuple[str, str, Callable[[object], float]], ...] = (
    ("memory_used_bytes", "Memory in use, by whichever process.", lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).used),
    ("memory_size_bytes", "Memory that it has.", lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).total),
    (
        "utilization_ratio",
        "Share of the last moment in which it computed something.",
        lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    ),
    (
        "temperature_celsius",
        "Of the chip.",
        lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU),
    ),
)


class GpuCollector(Collector):
    """Reads the driver at each scrape. A value that a device does not support, such as a MIG slice, is left out."""

    def __init__(self) -> None:
        self._is_open = False

    def describe(self) -> list[Metric]:
        """Nothing: there may be no driver yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One gauge per reading, with one sample per GPU."""
        families = [GaugeMetricFamily(f"structguard_gpu_{name}", text, labels=["gpu"]) for name, text, _ in _READINGS]
        try:
            if not self._is_open:
                pynvml.nvmlInit()
                self._is_open = True
            devices = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            return
        for index, device in enumerate(devices):
            for family, (_, _, read) in zip(families, _READINGS, strict=True):
                try:
                    family.add_metric([str(index)], read(device))
                except pynvml.NVMLError:
                    continue
        yield from families
