"""Registering models and fetching their checkpoints."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.cli import exchange, parameters, render, uploads
from service.cli.client import Client
from service.cli.download import download as fetch
from service.cli.output import Output
from service.cli.parameters import DEFAULT_SERVER, AsJson, ChosenWeights, ModelName, Server, existing_file


def register(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the model. It is created if there is none of this name.")
    ],
    *,
    architecture: Annotated[str, typer.Option(help="Such as torchvision/resnet50; GET /v1/architectures lists them.")],
    checkpoint: Annotated[
        Path, existing_file("The network's state dict: safetensors, or .pt, .pth and the like, which are converted.")
    ],
    classes: Annotated[str, typer.Option(help="In the order of the outputs: a,b,c or @file with one a line.")],
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width in pixels, as the network sees images.")],
    mean: Annotated[str, typer.Option(help="Per channel, of pixels in [0, 1]: 0.485,0.456,0.406.")],
    std: Annotated[str, typer.Option(help="Per channel, of pixels in [0, 1]: 0.229,0.224,0.225.")],
    weights: ChosenWeights = None,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of an image.")] = 3,
    resize: Annotated[
        Literal["stretch", "crop"], typer.Option(help="Stretch images to the size, or cover it and cut.")
    ] = "stretch",
    crop_pct: Annotated[
        float, typer.Option(min=0, max=1, help="What cutting keeps: 0.875 of an image scaled to 256 is 224.")
    ] = 1.0,
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear",
    attributes: Annotated[Path | None, existing_file('JSON: {"cat": ["whiskers", …], …}.')] = None,
    parent: Annotated[int | None, typer.Option(min=1, help="Number of the version that it was made from.")] = None,
    description: Annotated[str, typer.Option(help="Of the model, if it is new.")] = "",
    test_set: Annotated[Path | None, existing_file("Labelled images for A_test: npz or zip.")] = None,
    retain_set: Annotated[Path | None, existing_file("Labelled images for A_r: npz or zip.")] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0, max=100, help="Points of A_test that forgetting may cost, if it is new.")
    ] = None,
    max_collapse: Annotated[
        float | None, typer.Option(min=0, max=2, help="Structural collapse that is tolerated, if it is new.")
    ] = None,
    min_robust: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Percent of the images' views that must be misclassified, if it is new."),
    ] = None,
    max_membership: Annotated[
        float | None,
        typer.Option(min=0, max=0.5, help="|AUC - 0.5| that membership inference may reach, if it is new."),
    ] = None,
    parent_disposition: Annotated[
        Literal["keep", "quarantine", "delete"] | None,
        typer.Option(help="What becomes of a version when a better one was made of it, if the model is new."),
    ] = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Somebody else has to agree to each deletion request, if it is new.")
    ] = False,
    pool: Annotated[str | None, typer.Option(help="Workers that run its jobs, if it is new.")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Register a checkpoint as the next version of a model."""
    output = Output(as_json=as_json)
    metadata = {
        "architecture": {"name": architecture, "in_channels": in_channels},
        "classes": parameters.names(classes),
        "preprocessing": {
            "size": parameters.size(size),
            "mean": parameters.numbers(mean),
            "std": parameters.numbers(std),
            "resize": resize,
            "crop_pct": crop_pct,
            "interpolation": interpolation,
        },
        "attributes": parameters.json_file(attributes) if attributes else {},
        "parent": parent,
    }
    limits = {
        "max_test_accuracy_drop": max_drop,
        "max_collapse": max_collapse,
        "min_robust_forget_accuracy": min_robust,
        "max_membership_advantage": max_membership,
        "parent_disposition": parent_disposition,
    }
    model = {
        "name": name,
        "description": description,
        "policy": {limit: value for limit, value in limits.items() if value is not None},
        "approval_required": approval,
    } | ({"pool": pool} if pool else {})
    sets = {kind: path for kind, path in (("test", test_set), ("retain", retain_set)) if path is not None}
    with output.reporting(), Client(server) as client:
        is_new = uploads.register_model(client, model)
        if not is_new and (description or model["policy"] or approval or pool):
            output.say(f"The model {name} exists; its description, policy and pool stay as they are.")
        with exchange.as_safetensors(checkpoint, weights, output) as converted:
            version = uploads.register_version(client, name, metadata, converted)
        output.say(f"{name} version {version['number']}, sha256 {version['sha256']}")
        evaluation_sets: dict[str, Any] = {}
        for kind, path in sets.items():
            evaluation_sets[kind] = uploads.add_evaluation_set(client, name, kind, path)
            output.say(f"{kind} set {evaluation_sets[kind]['name']}: {evaluation_sets[kind]['count']} images")
        output.result({"version": version, "evaluation_sets": evaluation_sets})


def download(
    model: ModelName,
    *,
    version: Annotated[str, typer.Option(help="Number of the version, or latest.")] = "latest",
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="File to write. [default: MODEL-vN.safetensors]"),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Download a checkpoint and verify its digest. Started again, a broken download goes on where it was."""
    if version != "latest" and not version.isdecimal():
        raise typer.BadParameter("must be a number or `latest`", param_hint="--version")
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        if version == "latest":
            registered = uploads.newest_version(client, model)
        else:
            registered = client.get(f"/v1/models/{model}/versions/{version}")
        if registered["gate"] == "needs_review":
            output.say(f"Version {registered['number']} did not pass the quality gate.")
        path = target or Path(f"{model}-v{registered['number']}.safetensors")
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=output.console, disable=not output.console.is_terminal) as bars:
            bar = bars.add_task(path.name, total=registered["size"])
            fetch(client, registered, path, lambda done: bars.update(bar, completed=done))
        document = {"model": model, "version": registered["number"], "sha256": registered["sha256"], "file": str(path)}
        output.result(document, f"{path}: {render.mebibytes(registered['size'])}, sha256 {registered['sha256']}")
