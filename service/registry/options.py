"""What a caller may choose about an unlearning run; stored with the job, read by the worker."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.registry.fields import NAME, Unique, VersionNumber, Whole


class Reference(BaseModel):
    """A version of another model, which has learned the like, and none of the images to forget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(pattern=NAME)
    version: VersionNumber = Field(description="Number of the version.")


class Options(BaseModel):
    """How to unlearn. Every field has a default that suits most models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["default", "paper"] = Field(
        default="default",
        description="`default`: StructGuard with bounded deletion and distillation. `paper`: StructGuard as published.",
    )
    goal: Literal["misclassify", "indistinguishable"] = Field(
        default="misclassify",
        description="`misclassify`: every image to forget gets another label. `indistinguishable`: the model treats "
        "them as if it had never seen them, so most stay right, with an unseen image's confidence; the gate then tries "
        "membership inference, which takes a registered test set. The profile `paper` knows only `misclassify`.",
    )
    scope: Literal["views", "exact"] | None = Field(
        default=None,
        description="`views`: forget the image and its flips, shifts and lightings. `exact`: the very pixels only, "
        "which is all that the profile `paper` knows. Default: `views`, or `exact` with the profile `paper`.",
    )
    # Larger numbers are not the same to every reader of JSON (RFC 7493, section 2.2).
    seed: Annotated[int, Field(ge=0, lt=2**53), Whole] = Field(
        default=0, description="Seed of everything random in the run."
    )
    encoder: Literal["minilm", "openclip", "precomputed"] | None = Field(
        default=None, description="Semantic encoder of the anchors. Default: the one the worker is configured with."
    )
    anchor_set: uuid.UUID | None = Field(
        default=None, description="An anchor set registered earlier; required by, and only for, `precomputed`."
    )
    references: Unique[Reference] = Field(
        default=[],
        max_length=16,
        description="Reference models: membership inference is then tried by `lira` and `rmia`, too. Each is a version "
        "of another model, for the same classes, that was trained on the like and on none of the images to forget.",
    )

    def resolved_scope(self) -> Literal["views", "exact"]:
        """The scope, with the profile's default filled in."""
        return self.scope or ("exact" if self.profile == "paper" else "views")

    def stored(self) -> dict[str, Any]:
        """The options as JSON, for a job; references are sorted, so that equal choices are equal JSON."""
        in_order = sorted(self.references, key=lambda reference: (reference.model, reference.version))
        return self.model_copy(update={"references": in_order}).model_dump(mode="json")

    @model_validator(mode="after")
    def _paper_is_as_published(self) -> "Options":
        if self.profile == "paper" and self.scope == "views":
            raise ValueError("the profile `paper` forgets exact images only")
        if self.profile == "paper" and self.goal == "indistinguishable":
            raise ValueError("the profile `paper` knows the goal `misclassify` only")
        return self

    @model_validator(mode="after")
    def _anchors_are_named(self) -> "Options":
        if (self.encoder == "precomputed") != (self.anchor_set is not None):
            raise ValueError("`anchor_set` goes with the encoder `precomputed`, and only with it")
        return self
