"""Models come from other programs' files and go back to them, through a real service."""

import json

import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

from service.cli.client import Client


def test_a_folder_is_registered_and_written_again(structguard, server, tmp_path):
    """The same bytes in, through, and out; and timm reads what comes out."""
    network = timm.create_model("resnet18", num_classes=2)
    save_for_hf(network, tmp_path / "Kennel", {"label_names": ["cat", "dog"]}, safe_serialization=True)

    imported = structguard("models", "import", tmp_path / "Kennel", "--server", server, "--json")
    exported = structguard(
        "models", "export", "kennel", tmp_path / "out", "--version", "1", "--server", server, "--json"
    )

    assert imported.code == 0, imported.err
    assert imported.document["model"] == "kennel"
    assert imported.document["architecture"]["name"] == "timm/resnet18"
    assert exported.code == 0, exported.err
    assert exported.document["sha256"] == imported.document["sha256"]
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "Kennel", tmp_path / "out")]
    assert weights[0] == weights[1]
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert torch.equal(loaded.fc.weight, network.fc.weight)
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
    with Client(server) as client:  # a folder's name may be a person's
        assert client.get("/v1/models/kennel/versions/1")["tags"] == {}


def test_a_name_takes_a_checkpoint_and_its_classes(structguard, server, tmp_path):
    """As training leaves it, with what else was saved beside the weights."""
    network = timm.create_model("resnet18", num_classes=2)
    torch.save({"model": network.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    given = ("models", "import", "timm/resnet18", "--name", "catalogued", "--checkpoint", tmp_path / "last.pt")

    without = structguard(*given, "--server", server)
    ran = structguard(*given, "--classes", "cat,dog", "--server", server, "--json")

    assert (without.code, "--classes" in without.err) == (1, True)
    assert ran.code == 0, ran.err
    with Client(server) as client:
        found = client.get("/v1/models/catalogued/versions/1")
    assert found["tags"] == {"imported-from": "timm/resnet18"}
    assert found["preprocessing"]["crop_pct"] == 0.95


def test_a_pickled_checkpoint_is_converted_when_it_is_registered(structguard, register, files, tmp_path):
    """The converter runs apart; what is registered is safetensors."""
    torch.save(load_file(files / "model.safetensors"), tmp_path / "a.pth")

    ran = register("pickled", "--checkpoint", tmp_path / "a.pth", "--resize", "crop", "--crop-pct", "0.8", "--json")

    assert ran.code == 0, ran.err
    assert ran.document["version"]["preprocessing"]["crop_pct"] == 0.8


def test_converting_is_a_command_of_its_own(structguard, tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"nonsense")

    good = structguard("models", "convert", tmp_path / "a.pt", tmp_path / "a.safetensors")
    bad = structguard("models", "convert", tmp_path / "b.pt", tmp_path / "b.safetensors", "--json")

    assert good.code == 0, good.err
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [1, 1]
    assert bad.code == 1
    assert "does not hold a plain dictionary of tensors" in bad.document["detail"]
    assert not (tmp_path / "b.safetensors").exists()


def test_one_of_several_sets_of_weights_is_chosen(structguard, register, server, files, tmp_path):
    """By every command that takes a pickled checkpoint; what is left out of it is said."""
    raw = load_file(files / "model.safetensors")
    averaged = {f"module.{name}": tensor for name, tensor in raw.items()} | {"n_averaged": torch.tensor(3)}
    torch.save({"model": raw, "model_ema": averaged}, tmp_path / "a.pt")
    convert = ("models", "convert", tmp_path / "a.pt", tmp_path / "a.safetensors")
    imported = ("models", "import", "timm/resnet18", "--checkpoint", tmp_path / "a.pt", "--server", server)

    for refused in (
        structguard(*convert, "--json"),
        structguard(*imported, "--json"),
        register("chosen", "--checkpoint", tmp_path / "a.pt", "--json"),
    ):
        assert refused.code == 1
        assert f"model ({len(raw)} tensors), model_ema ({len(averaged)} tensors)" in refused.document["detail"]
        assert "--weights NAME" in refused.document["detail"]

    ran = register("chosen", "--checkpoint", tmp_path / "a.pt", "--weights", "model_ema")
    assert ran.code == 0, ran.err
    assert "Left out, as these are no weights: n_averaged." in ran.out
    assert structguard(*convert, "--weights", "model_ema").code == 0
    assert load_file(tmp_path / "a.safetensors").keys() == raw.keys()
    assert "does not name its classes" in structguard(*imported, "--weights", "model").err


def test_nothing_is_written_over(structguard, register, server, tmp_path):
    register("kept")
    (tmp_path / "out").mkdir()
    ran = structguard("models", "export", "kept", tmp_path / "out", "--server", server)
    assert ran.code == 1
    assert "Name a new folder" in ran.err


def test_a_source_that_is_none_is_named(structguard, server):
    ran = structguard("models", "import", "keras/resnet", "--server", server, "--json")
    assert ran.code == 1
    assert "does not begin with timm/, torchvision/ or hf-hub:" in json.dumps(ran.document)
