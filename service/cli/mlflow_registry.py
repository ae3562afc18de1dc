"""MLflow's model registry, at MLFLOW_TRACKING_URI, by its own client."""

import os
import re
from pathlib import Path
from typing import Any

from service.cli.exits import CommandError

_URI = re.compile(r"models:/(?P<name>[\w .-]+)(?:/(?P<version>\w+)|@(?P<alias>[\w.-]+))?")
#: For the library, unless the user has set them: no telemetry, nothing on stdout, few retries (default: minutes).
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
_TAGGED = ("model", "number", "sha256", "method", "gate")


def is_uri(text: str) -> bool:
    """Whether the text is a URI of MLflow's registry: `models:/name/3`, `models:/name@alias` or `models:/name`."""
    return _URI.fullmatch(text) is not None


def name_of(uri: str) -> str:
    """The registered model that a URI names."""
    return _parts(uri)["name"] or ""


def fetch(uri: str, folder: Path) -> Path:
    """Download the files of a model version; the folder of theirs that holds config.json.

    Raises:
        CommandError: there is no such version, or it is not in a form that can be imported.
    """
    mlflow = _client()
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
    except (mlflow.MlflowException, OSError) as error:
        raise CommandError(f"{uri} cannot be fetched from MLflow.", str(error)) from error
    configs = sorted(folder.rglob("config.json"))
    if len(configs) != 1:
        advice = "It must hold a folder of the Hugging Face form once: config.json beside model.safetensors."
        raise CommandError(f"{uri} cannot be imported.", advice)
    return configs[0].parent


def destination(uri: str) -> tuple[str, str | None]:
    """The registered model that gets a new version, and the alias that shall point to it, if any.

    Raises:
        CommandError: the URI names a version, or there is no MLflow.
    """
    parts = _parts(uri)
    if parts["version"] is not None:
        raise CommandError(f"{uri} names a version.", "MLflow numbers versions itself: leave it out.")
    _client()
    return name_of(uri), parts["alias"]


def publish(name: str, alias: str | None, version: dict[str, Any], folder: Path) -> str:
    """Make the files of a folder a new version of the model, and point the alias to it; its URI.

    Its run has the measurements as metrics; its tags repeat them, with model, number, SHA-256, method and gate.

    Raises:
        CommandError: MLflow refuses, or does not answer.
    """
    mlflow = _client()
    client = mlflow.MlflowClient()
    measured = {metric: value for metric, value in version["metrics"].items() if isinstance(value, float)}
    properties = {field: version[field] for field in _TAGGED if version[field] is not None} | measured
    tags = {f"structguard.{key}": str(value) for key, value in properties.items()}
    try:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        experiment = client.get_experiment_by_name("structguard")
        experiment_id = experiment.experiment_id if experiment else client.create_experiment("structguard")
        title = f"{version['model']}-v{version['number']}"
        run = client.create_run(experiment_id, run_name=title, tags=tags).info.run_id
        for metric, value in measured.items():
            client.log_metric(run, metric, value)
        client.log_artifacts(run, str(folder), "model")
        client.set_terminated(run)
        model_version = client.create_model_version(name, f"runs:/{run}/model", run, tags=tags)
        if alias is not None:
            client.set_registered_model_alias(name, alias, model_version.version)
    except (mlflow.MlflowException, OSError) as error:
        raise CommandError("MLflow does not take the version.", str(error)) from error
    return f"models:/{name}/{model_version.version}"


def _parts(uri: str) -> dict[str, str | None]:
    match = _URI.fullmatch(uri)
    assert match is not None  # the caller has asked `is_uri`
    return match.groupdict()


def _client() -> Any:
    """The library: a package of its own, and one that takes its time to load."""
    for setting, value in _SETTINGS.items():
        os.environ.setdefault(setting, value)
    try:
        import mlflow  # noqa: PLC0415
    except ImportError as error:
        raise CommandError("This takes MLflow's client.", "pip install 'structguard[mlflow]'") from error
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise CommandError("Where is MLflow?", "Name it in the environment variable MLFLOW_TRACKING_URI.")
    return mlflow
