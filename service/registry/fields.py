"""Kinds of fields that several bodies have."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from service.registry.numbers import Whole

T = TypeVar("T")

NAME = "^[a-z0-9][a-z0-9._-]{0,99}$"
"""Of models, sets, aliases and manifests. There is no `/` in it: `pets/2` is version 2 of `pets`."""


def _each_once(found: list[T]) -> list[T]:
    """The list, if nothing in it stands twice."""
    if len(set(found)) != len(found):
        raise ValueError("must be different from each other")
    return found


Unique = Annotated[list[T], AfterValidator(_each_once), Field(json_schema_extra={"uniqueItems": True})]
VersionNumber = Annotated[int, Field(ge=1, lt=2**31), Whole]
