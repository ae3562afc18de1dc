"""`python -m worker.exchange import SOURCE OUT` and `python -m worker.exchange export VERSION.json CHECKPOINT OUT`."""

import argparse
import json
import sys
from pathlib import Path

from worker.exchange import folders, model_zoos
from worker.exchange.export import export
from worker.exchange.imported_model import ImportedModel, Unsupported


def import_model(source: str, checkpoint: Path | None, work: Path, weights: str | None = None) -> ImportedModel:
    """Import the model that `source` names: `timm/…`, `torchvision/…`, `hf-hub:…` or a folder.

    `weights` names one of several sets of weights in the checkpoint, or in the folder's.

    Raises:
        Unsupported: it names none of these, or nothing that `checkpoint` or `weights` would go with.
    """
    library, _, name = source.partition("/")
    if checkpoint is not None and library not in ("timm", "torchvision"):
        raise Unsupported("A checkpoint goes with the name of a network, timm/… or torchvision/….")
    if weights is not None and checkpoint is None and not Path(source).is_dir():
        raise Unsupported("--weights goes with a checkpoint or a folder.")
    if library == "timm":
        return model_zoos.timm_model(name, checkpoint, work, weights)
    if library == "torchvision":
        return model_zoos.torchvision_model(name, checkpoint, work, weights)
    if source.startswith("hf-hub:"):
        return model_zoos.hub(source.removeprefix("hf-hub:"), work)
    if Path(source).is_dir():
        return folders.read(Path(source), work, weights)
    raise Unsupported(f"{source} is no folder, and does not begin with timm/, torchvision/ or hf-hub:.")


def main() -> None:
    """Import into, or export to, the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m worker.exchange", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    import_parser = commands.add_parser("import", help="write model.safetensors and model.json, what its source says")
    import_parser.add_argument("source")
    import_parser.add_argument("out", type=Path)
    import_parser.add_argument("--checkpoint", type=Path)
    import_parser.add_argument("--weights", metavar="NAME")
    export_parser = commands.add_parser("export", help="write config.json and model.safetensors")
    export_parser.add_argument("version", type=Path)
    export_parser.add_argument("checkpoint", type=Path)
    export_parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "import":
            model = import_model(arguments.source, arguments.checkpoint, arguments.out, arguments.weights)
            (arguments.out / "model.json").write_text(json.dumps(model.description) + "\n")
        else:
            export(json.loads(arguments.version.read_text()), arguments.checkpoint, arguments.out)
    except Unsupported as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
