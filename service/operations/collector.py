"""Prometheus collector of what stands in the database, which it reads at most once a second."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.operations.families import families
from service.registry.operations import installation_status
from service.registry.operations.installation_status import InstallationStatus
from service.registry.storage.database import Database

_MAX_AGE = 1.0  # seconds for which an overview is served again


class InstallationCollector(Collector):
    """Metrics of the whole installation, and of the free space on this process's disks."""

    def __init__(self, database: Database, lease: timedelta, data_dir: Path) -> None:
        self._database = database
        self._lease = lease
        self._folders = {"data": data_dir, "temporary": Path(tempfile.gettempdir())}
        self._lock = threading.Lock()
        self._read_at = -_MAX_AGE
        self._overview: InstallationStatus | None = None

    def describe(self) -> list[Metric]:
        """Nothing: otherwise registering the collector would read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics; while the database does not answer, `structguard_database_up` = 0 and those of the disks."""
        overview = self._latest()
        yield GaugeMetricFamily(
            "structguard_database_up", "1 = the database answers.", value=float(overview is not None)
        )
        yield from self._disks()
        if overview is not None:
            yield from families(overview)

    def _latest(self) -> InstallationStatus | None:
        with self._lock:  # a concurrent scrape waits, and takes the same overview
            if time.monotonic() - self._read_at >= _MAX_AGE:
                try:
                    with self._database.read() as session:
                        self._overview = installation_status.read(session, self._lease)
                except (OperationalError, PoolTimeout):
                    self._overview = None
                self._read_at = time.monotonic()
            return self._overview

    def _disks(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("structguard_disk_free_bytes", "Room left for files.", labels=["folder"])
        size = GaugeMetricFamily("structguard_disk_size_bytes", "Size of the file system.", labels=["folder"])
        for name, folder in self._folders.items():
            usage = shutil.disk_usage(folder)
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        yield from (free, size)
