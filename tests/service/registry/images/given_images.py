"""Image files of the formats that are accepted, and of those that are not."""

import io

from PIL import Image


def encoded(kind="PNG", shade=0, size=(4, 4), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, shade if mode == "L" else (shade,) * len(mode)).save(file, kind)
    return file.getvalue()
