"""Settings of the worker, beside those of the registry."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from service.registry.settings import RegistrySettings


class WorkerSettings(RegistrySettings):
    """The registry's settings, and those of device, polling, time limits, metrics, evaluation and encoder."""

    device: str = "auto"
    """Torch device, `cpu`, `cuda` or `cuda:1`. `auto` takes CUDA when there is one."""

    poll_interval: timedelta = Field(default=timedelta(seconds=1), gt=timedelta(0))
    """How often the embedded worker looks for a job."""

    job_timeout: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))
    """How long one attempt at a job may take. The job then fails without a retry: the next would take as long."""

    stall_timeout: timedelta = Field(default=timedelta(hours=3), gt=timedelta(0))
    """How long an attempt may report no progress, between two steps or two evaluation batches. It is then ended, and
    retried as if its process had died."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the worker's Prometheus metrics. Default: none."""

    metrics_host: str = "127.0.0.1"
    """Address of the metrics port, which needs no authentication."""

    evaluation_batch: int = Field(default=256, ge=1)
    """Images per forward pass when a version is measured."""

    encoder: Literal["minilm", "openclip"] = "minilm"
    """Semantic encoder of the anchors when a request names none. `minilm` needs no network."""

    openclip_model: str = "ViT-B-32-quickgelu"
    """Architecture of the `openclip` encoder, any name that open_clip knows."""

    openclip_weights: str = "openai"
    """Weights of the `openclip` encoder: a pretrained tag, fetched from the hub, or the path of a local file."""
