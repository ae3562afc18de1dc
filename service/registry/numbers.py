"""Numbers as JSON has them: 1.0 is the integer 1, and neither "1" nor true is a number."""

from typing import Annotated

from pydantic import BeforeValidator, Field


def whole(value: object) -> int:
    """The integer that this is; ValueError if it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be an integer")


Whole = BeforeValidator(whole)
"""For an `int`, as the last of its annotations: JSON Schema shows no limits that come after it."""

Real = Annotated[float, Field(strict=True)]
