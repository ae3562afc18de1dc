"""The networks a checkpoint may be for, as tensor names and shapes, so that a bad upload is refused without torch.

The shapes are in architectures.json, which `python -m worker.networks` writes by building every network. A dimension
that depends on how the network is built is written there as `classes`, `channels` or `tokens`.
"""

import difflib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, TypeAdapter, model_validator

from service.registry.errors import RegistryError
from service.registry.fields import Whole

MANIFEST = Path(__file__).with_name("architectures.json")
STEP_COUNTER = ".num_batches_tracked"  # batch norm's step counter: older files lack it, and prediction never reads it

Symbol = Literal["classes", "channels", "tokens"]


class ImageSizeUnsupported(RegistryError):
    """The architecture does not take images of this size."""


class Shapes(BaseModel, frozen=True, extra="forbid"):
    """An architecture in the manifest: its tensors, and the images that it takes."""

    any_channels: bool  # False: images must have three channels
    least: int  # smallest height and width, in pixels
    multiple: int  # height and width must be multiples of this many pixels
    square: bool
    patch: int | None  # side of a patch in pixels, where the shapes depend on the image size
    floats: dict[str, tuple[int | Symbol, ...]]
    integers: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ExpectedTensor:
    """The shape and type that one tensor of a checkpoint must have."""

    shape: tuple[int, ...]
    integer: bool  # int64; otherwise any floating type
    optional: bool  # whether a checkpoint may lack it


@functools.cache
def manifest() -> dict[str, Shapes]:
    """Every allowed architecture by name, from architectures.json."""
    return TypeAdapter(dict[str, Shapes]).validate_json(MANIFEST.read_bytes())


def names() -> list[str]:
    """The names of the allowed architectures, in the order of the manifest."""
    return list(manifest())


class Architecture(BaseModel, frozen=True, extra="forbid"):
    """A network on the allow-list, and how many channels its images have."""

    name: str = Field(json_schema_extra=lambda schema: schema.update(enum=[*names()]))
    in_channels: Annotated[int, Field(ge=1, le=16), Whole] = 3

    @model_validator(mode="after")
    def _is_allowed(self) -> Self:
        if self.name not in manifest():
            matches = difflib.get_close_matches(self.name, names(), cutoff=0.4)
            hint = f"Did you mean {' or '.join(matches)}?" if matches else f"Allowed: {', '.join(names())}."
            raise ValueError(f"This architecture is not on the allow-list. {hint}")
        if self.in_channels != 3 and not manifest()[self.name].any_channels:
            raise ValueError(f"{self.name} takes images with three channels only.")
        return self


def expected_tensors(
    architecture: Architecture, *, num_classes: int, image_size: tuple[int, int]
) -> dict[str, ExpectedTensor]:
    """Every tensor of a checkpoint for this network, by its name in the state dict.

    `num_classes` counts the outputs of the last layer; `image_size` is (height, width) in pixels, as the network sees
    them.

    Raises:
        ImageSizeUnsupported: the network does not take images of this size; the detail names the sizes that it takes.
    """
    shapes = manifest()[architecture.name]
    _check_size(architecture.name, shapes, image_size)
    height, width = image_size
    sizes = {"classes": num_classes, "channels": architecture.in_channels}
    if shapes.patch:
        sizes["tokens"] = 1 + (height // shapes.patch) * (width // shapes.patch)  # one per patch and the class token

    def resolve(shape: tuple[int | Symbol, ...]) -> tuple[int, ...]:
        return tuple(sizes[n] if isinstance(n, str) else n for n in shape)

    floats = {
        name: ExpectedTensor(resolve(shape), integer=False, optional=False) for name, shape in shapes.floats.items()
    }
    integers = {
        name: ExpectedTensor(shape, integer=True, optional=name.endswith(STEP_COUNTER))
        for name, shape in shapes.integers.items()
    }
    return floats | integers


def _check_size(name: str, shapes: Shapes, image_size: tuple[int, int]) -> None:
    height, width = image_size
    if min(image_size) < shapes.least:
        raise ImageSizeUnsupported(f"{name} needs images of at least {shapes.least} × {shapes.least} pixels.")
    if height % shapes.multiple or width % shapes.multiple:
        raise ImageSizeUnsupported(f"{name} needs a height and width that are multiples of {shapes.multiple} pixels.")
    if shapes.square and height != width:
        raise ImageSizeUnsupported(f"{name} takes square images only.")
