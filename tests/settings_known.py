"""The variables that the code reads."""

from service.settings import ServiceSettings
from worker.settings import WorkerSettings

SETTINGS = {f"STRUCTGUARD_{name.upper()}" for name in ServiceSettings.model_fields | WorkerSettings.model_fields}
