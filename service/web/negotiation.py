"""What a caller would rather have: which form of an answer, and whether it has the answer already."""


def matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110, section 13.1.2: a list of tags, compared weakly, or `*`."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return bool(tags & {etag, "*"})


JSON, HTML, PDF = "application/json", "text/html", "application/pdf"


def preferred(accept: str) -> str:
    """Of JSON, HTML and PDF the one that `Accept` likes best (RFC 9110, section 12.5.1); JSON if it likes none."""
    liked = dict(_weight(part) for part in accept.lower().split(","))

    def weight(kind: str) -> float:
        family = f"{kind.partition('/')[0]}/*"
        return next((liked[one] for one in (kind, family, "*/*") if one in liked), 0.0)

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
