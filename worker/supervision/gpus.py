"""The GPUs of this machine, as NVIDIA's driver tells. Where there is no driver there are none."""

from collections.abc import Callable, Iterator

import pynvml
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Names, what they mean, and how a device is asked.
_ASKED: tuple[tuple[str, str, Callable[[object], float]], ...] = (
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
    """Asks the driver when Prometheus asks. What a device cannot tell, such as a slice of one, is left out."""

    def __init__(self) -> None:
        self._is_open = False

    def describe(self) -> list[Metric]:
        """Nothing: there may be no driver yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One sample for each device and question."""
        families = [GaugeMetricFamily(f"structguard_gpu_{name}", text, labels=["gpu"]) for name, text, _ in _ASKED]
        try:
            if not self._is_open:
                pynvml.nvmlInit()
                self._is_open = True
            devices = [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            return
        for at, device in enumerate(devices):
            for family, (_, _, ask) in zip(families, _ASKED, strict=True):
                try:
                    family.add_metric([str(at)], ask(device))
                except pynvml.NVMLError:
                    continue
        yield from families
