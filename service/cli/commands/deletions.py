"""Deletion requests: sending them, looking at them, waiting for them."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.cli import following, parameters, render, uploads
from service.cli.client import Client
from service.cli.exits import exit_code
from service.cli.output import Output
from service.cli.parameters import DEFAULT_SERVER, AsJson, ModelName, RequestId, Server, existing_file


def forget(
    model: ModelName,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGES...]",
            exists=True,
            dir_okay=False,
            readable=True,
            help="PNG, JPEG or WebP files, or one zip or npz.",
        ),
    ] = None,
    *,
    subject_id: Annotated[
        str | None,
        typer.Option(help="Instead of images: everything of this person in the training manifests, or @file."),
    ] = None,
    sample_ids: Annotated[
        str | None, typer.Option(help="Instead of images: these records, a,b,c or @file with one a line.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="The class of each image, by name or else position: cat,dog or 3,7 or @labels.json."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The class of all images, by name or else position.")] = None,
    regulation: Annotated[str, typer.Option(help="Sets the deadline: gdpr, ccpa, or another name.")] = "gdpr",
    profile: Annotated[
        Literal["default", "paper"] | None, typer.Option(help="The service's settings, or the publication's.")
    ] = None,
    goal: Annotated[
        Literal["misclassify", "indistinguishable"] | None,
        typer.Option(help="Give the images another label, or treat them like images never seen."),
    ] = None,
    scope: Annotated[
        Literal["views", "exact"] | None, typer.Option(help="Forget variations of the images too, or just them.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    encoder: Annotated[Literal["minilm", "openclip"] | None, typer.Option(help="Computes the anchors.")] = None,
    anchors: Annotated[Path | None, existing_file("Your own: npz with emb (b, d) and names (b).")] = None,
    references: Annotated[
        str | None,
        typer.Option(metavar="MODEL/VERSION,…", help="Models that never learned the images: stronger attacks."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait until it has ended.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Ask to forget images. Once this command has printed an identifier, the request cannot be lost."""
    if sum(map(bool, (images, subject_id, sample_ids))) != 1:
        raise typer.BadParameter("name images, or use --subject-id or --sample-ids")
    if not images and (labels is not None or label is not None):
        raise typer.BadParameter("labels go with images; those of records stand in their manifest")
    images = images or []
    if labels is not None and label is not None:
        raise typer.BadParameter("use either --labels or --label")
    if anchors is not None and encoder is not None:
        raise typer.BadParameter("use either --anchors or --encoder")
    image_labels: list[int | str] | None = parameters.labels(labels) if labels is not None else None
    if label is not None:
        image_labels = [label.strip()] * len(images)
    options: dict[str, Any] = {
        "profile": profile,
        "goal": goal,
        "scope": scope,
        "seed": seed,
        "encoder": encoder,
        "references": parameters.versions(references) if references is not None else None,
    }
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        if anchors is not None:
            options |= {"encoder": "precomputed", "anchor_set": uploads.add_anchors(client, model, anchors)}
        metadata = {
            "model": model,
            "labels": image_labels,
            "subject_id": parameters.private(subject_id) if subject_id else None,
            "sample_ids": parameters.names(sample_ids) if sample_ids else None,
            "regulation": regulation,
            "options": {name: value for name, value in options.items() if value is not None},
        }
        request = uploads.request_deletion(client, metadata, images)
        if not watch:
            accepted = f"Accepted as {request['id']}, due {render.moment(request['due_at'])}."
            output.result(request, accepted, *render.affected_versions(request["reach"] or []))
            return
        output.say(f"Accepted as {request['id']}.")
    _wait(output, server, request["id"])


def status(
    request_id: Annotated[str | None, typer.Argument(help="One request. [default: the recent ones]")] = None,
    *,
    model: Annotated[str | None, typer.Option(help="Requests for this model only.")] = None,
    state: Annotated[str | None, typer.Option(help="Requests in this state only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many requests.")] = 20,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show a deletion request, or the recent ones."""
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        if request_id is not None:
            request = client.get(f"/v1/deletion-requests/{request_id}")
            output.result(request, render.request(request), *_metrics_table(request))
            return
        filters = {name: value for name, value in (("model", model), ("state", state)) if value is not None}
        page = client.get("/v1/deletion-requests", limit=limit, **filters)
        output.result(page, render.requests(page["items"]) if page["items"] else "There are no deletion requests.")


def watch(request_id: RequestId, *, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Follow a deletion request until it ends; with --json, print a line for every change."""
    output = Output(as_json=as_json)
    with output.reporting():
        _wait(output, server, request_id, lines=True)


def cancel(request_id: RequestId, *, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Withdraw a deletion request; possible until its new version is published."""
    _post_action("cancel", request_id, server=server, as_json=as_json)


def retry(request_id: RequestId, *, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Queue a failed deletion request again."""
    _post_action("retry", request_id, server=server, as_json=as_json)


def _post_action(verb: str, request_id: str, *, server: str, as_json: bool) -> None:
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        request = client.post(f"/v1/deletion-requests/{request_id}/{verb}")
        suffix = " as soon as its run notices" if verb == "cancel" and request["state"] == "running" else ""
        output.result(request, f"{request['id']} is {'cancelled' if suffix else request['state']}{suffix}.")


def _wait(output: Output, server: str, request_id: str, *, lines: bool = False) -> None:
    """Follow the request and exit with the code of its final state.

    With --json it prints a document for each change if `lines`, otherwise one for the final state.
    """
    with Client(server, patience=following.PATIENCE) as client:
        changes = following.changes(client, request_id)
        if lines and output.as_json:
            for request in changes:
                typer.echo(json.dumps(request))
        else:
            request = following.show(output, changes)
            output.result(request, render.request(request), *_metrics_table(request))
    raise typer.Exit(exit_code(request["state"]))


def _metrics_table(request: dict[str, Any]) -> list[Any]:
    return ["", render.metrics(request["metrics"])] if request["metrics"] else []
