"""The preprocessing of images to network inputs, which must be that of training."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.registry.fields import Real, Whole

_Side = Annotated[int, Field(ge=1, le=2048), Whole]


class Preprocessing(BaseModel):
    """Resize, scale to [0, 1], subtract the mean and divide by the standard deviation of each channel."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size: tuple[_Side, _Side] = Field(description="Height and width in pixels, as the network sees them.")
    mean: list[Real] = Field(min_length=1, max_length=16, description="Per channel, of pixels in [0, 1].")
    std: list[Annotated[Real, Field(gt=0)]] = Field(min_length=1, max_length=16, description="Per channel, above 0.")
    resize: Literal["stretch", "crop"] = Field(
        default="stretch", description="`stretch`: to the size. `crop`: scale until it is covered, keep the centre."
    )
    crop_pct: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Of `crop`: the share of the scaled image's side that is kept, as timm has it. Scaling to 256 and "
        "keeping the central 224 is 0.875.",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"

    @model_validator(mode="after")
    def _one_of_each_per_channel(self) -> "Preprocessing":
        if len(self.mean) != len(self.std):
            raise ValueError("`mean` and `std` must have one value for each channel")
        return self
