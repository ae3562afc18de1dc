"""Content negotiation and conditional requests: the headers `Accept` and `If-None-Match` (RFC 9110)."""


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` has `etag` (weak comparison) or `*`: answer 304 then (RFC 9110, section 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return bool(tags & {etag, "*"})


JSON, HTML, PDF = "application/json", "text/html", "application/pdf"


def preferred(accept: str) -> str:
    """The type among JSON, HTML and PDF that `Accept` weighs highest (RFC 9110, section 12.5.1); else JSON."""
    weights = dict(_weight(part) for part in accept.lower().split(","))

    def weight(kind: str) -> float:
        family = f"{kind.partition('/')[0]}/*"
        return next((weights[one] for one in (kind, family, "*/*") if one in weights), 0.0)

    return max((JSON, HTML, PDF), key=weight)


def _weight(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0
