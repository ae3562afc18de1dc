"""Types of fields that several schemas share. As in JSON, 1.0 is 1, and "1" and true are no numbers."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

T = TypeVar("T")


NAME = "^[a-z0-9][a-z0-9._-]{0,99}$"
"""Names of models, sets, aliases and manifests. There is no `/` in it: `pets/2` is version 2 of `pets`."""


def whole(value: object) -> int:
    """The integer that this JSON number equals.

    Raises:
        ValueError: it is not a number, or not an integer.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be an integer")


Whole = BeforeValidator(whole)
"""For an `int`, as the last of its annotations: JSON Schema shows no limits that come after it."""


Real = Annotated[float, Field(strict=True)]


def _each_once(items: list[T]) -> list[T]:
    """The list; `ValueError` if it has duplicates."""
    if len(set(items)) != len(items):
        raise ValueError("must be different from each other")
    return items


Unique = Annotated[list[T], AfterValidator(_each_once), Field(json_schema_extra={"uniqueItems": True})]
VersionNumber = Annotated[int, Field(ge=1, lt=2**31), Whole]
