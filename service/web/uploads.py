"""Images of a multipart body on their way to `service.registry.images`."""

from collections.abc import Sequence

from fastapi import UploadFile

from service.registry.images import validation
from service.web.dependencies import Resources


def uploads_of(images: Sequence[UploadFile]) -> list[validation.Upload]:
    """The images of a form, each under the JSON Pointer by which problems name it."""
    return [validation.Upload(f"#/images/{at}", image.file) for at, image in enumerate(images)]


def image_limits(resources: Resources, images: int) -> validation.Limits:
    """At most so many images, each of at most the pixels that the settings allow."""
    settings = resources.settings
    return validation.Limits(images=images, pixels=settings.max_image_pixels, bytes=settings.max_upload_bytes)
