"""Importing models from timm, torchvision, Hugging Face and MLflow, and exporting them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli import exchange, mlflow_registry, parameters, uploads
from service.cli.client import Client
from service.cli.download import download
from service.cli.exits import EPILOG, CommandError
from service.cli.output import Output
from service.cli.parameters import DEFAULT_SERVER, AsJson, ChosenWeights, ModelName, Server, existing_file

app = typer.Typer(
    help="Import models from timm, torchvision, Hugging Face or MLflow, and export them.", no_args_is_help=True
)

_SOURCE = "timm/NAME, torchvision/NAME, hf-hub:OWNER/NAME, MLflow's models:/NAME/3 or models:/NAME@ALIAS, or a folder"


@app.command("import", epilog=EPILOG)
def import_(
    source: Annotated[str, typer.Argument(help=f"{_SOURCE} with config.json.")],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the model here. [default: the source's]")] = None,
    checkpoint: Annotated[
        Path | None, existing_file("Weights for timm/… and torchvision/…, instead of the published ones.")
    ] = None,
    weights: ChosenWeights = None,
    classes: Annotated[
        str | None, typer.Option(help="If the source does not name them: a,b,c or @file with one a line.")
    ] = None,
    parent: Annotated[int | None, typer.Option(min=1, help="Number of the version that it was made from.")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Register a model of another program as the next version of a model. Its weights are not changed."""
    output = Output(as_json=as_json)
    with (
        output.reporting(),
        _fetched(source) as path,
        exchange.imported(path, checkpoint, weights, output) as (imported, safetensors),
    ):
        metadata = imported | {"parent": parent} | ({} if classes is None else {"classes": parameters.names(classes)})
        _check_complete(metadata)
        model = name or _name(source)
        with Client(server) as client:
            uploads.register_model(client, {"name": model})
            version = uploads.register_version(client, model, metadata, safetensors)
            if not Path(source).exists():  # a path may name a person
                version = client.put(f"{version['links']['self']}/tags/imported-from", {"value": source})
        output.result(version, f"{model} version {version['number']}, sha256 {version['sha256']}")


@app.command(epilog=EPILOG)
def export(
    model: ModelName,
    target: Annotated[str, typer.Argument(help="A new folder, or models:/NAME or models:/NAME@ALIAS of MLflow.")],
    *,
    version: Annotated[str, typer.Option(help="Number of the version, @ and an alias, or latest.")] = "latest",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Write a version as a folder for the Hugging Face hub and timm, or make it a version of a model in MLflow."""
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client, tempfile.TemporaryDirectory() as work:
        registry = mlflow_registry.destination(target) if mlflow_registry.is_uri(target) else None
        registered = client.get(f"/v1/models/{model}/versions/{version}")
        if registered["gate"] == "needs_review":
            output.say(f"Version {registered['number']} did not pass the quality gate.")
        weights = Path(work, "model.safetensors")
        download(client, registered, weights, lambda _: None)
        document = {"model": model, "version": registered["number"], "sha256": registered["sha256"]}
        if registry is not None:
            folder = Path(work, "model")
            exchange.export(registered, weights, folder)
            uri = mlflow_registry.publish(*registry, registered, folder)
            output.result(document | {"mlflow": uri}, f"{model} version {registered['number']} is {uri} in MLflow.")
        else:
            exchange.export(registered, weights, Path(target))
            output.result(document | {"folder": target}, f"{model} version {registered['number']} is in {target}.")


@app.command(epilog=EPILOG)
def convert(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A state dict as torch.save writes it.")],
    target: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    *,
    weights: ChosenWeights = None,
    as_json: AsJson = False,
) -> None:
    """Turn a pickled checkpoint into safetensors, without network, credentials or much memory for what it may do."""
    output = Output(as_json=as_json)
    with output.reporting():
        exchange.convert(source, target, weights, output)
        output.result({"file": str(target)}, f"Wrote {target}.")


@contextmanager
def _fetched(source: str) -> Iterator[str]:
    """The source itself, or the folder that it was downloaded to from MLflow."""
    if not mlflow_registry.is_uri(source):
        yield source
        return
    with tempfile.TemporaryDirectory() as work:
        yield str(mlflow_registry.fetch(source, Path(work)))


def _check_complete(metadata: dict[str, Any]) -> None:
    if "classes" not in metadata:
        raise CommandError(
            "The source does not name its classes.", "Give them with --classes a,b,c or --classes @file."
        )
    if "preprocessing" not in metadata:
        advice = "`structguard register` takes everything by hand; it wants the checkpoint, which may be a .pt."
        raise CommandError("The source does not say how images are prepared.", advice)


def _name(source: str) -> str:
    """The default name of a model that is imported from this source."""
    if mlflow_registry.is_uri(source):
        return mlflow_registry.name_of(source).lower()
    return Path(source.partition("@")[0]).name.lower()
