"""A certificate as one HTML file that needs no other and may do nothing: no script, no request, no frame."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from service.evidence.renderings.facts import Document

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent
_STYLE = (_HERE / "certificate.css").read_text()
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'"

SECURITY_HEADERS = {
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of the page. Its `<meta>` has the policy too, but `frame-ancestors`, which works as a header only."""


def page(document: Document) -> str:
    """The HTML; the same for the same document."""
    return _template().render(document=document, policy=_POLICY)


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.globals["style"] = Markup(_STYLE)  # noqa: S704  (a file of this package, whose digest is in the policy)
    return environment.get_template("certificate.html")
