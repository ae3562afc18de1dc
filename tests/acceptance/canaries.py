"""Words that stand for what must not get about, one for each place where they are sent, and how to find them again."""

import base64
import hashlib
import re
from urllib.parse import quote

PERSON = "canary-jane-doe-"  # somebody's name, address or number, in whatever field it is put
LABEL = "canary-own-name-"  # what somebody calls a thing of theirs, in a field that is there for it
_WORD = re.compile(rf"(?:{PERSON}|{LABEL})\d{{4}}".encode())


class Canaries:
    """Makes the words, and knows where each was sent."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str], str] = {}

    def person(self, place: str) -> str:
        return self._word(PERSON, place)

    def label(self, place: str) -> str:
        return self._word(LABEL, place)

    def _word(self, kind: str, place: str) -> str:
        return self._words.setdefault((kind, place), f"{kind}{len(self._words):04d}")

    def _place(self, word: bytes) -> str:
        return next(f"{made} of {place}" for (_, place), made in self._words.items() if made.encode() == word)

    def labels_in(self, text: bytes) -> set[str]:
        """Every label that stands in the text as it is."""
        return {found.decode() for found in _WORD.findall(text.lower()) if found.startswith(LABEL.encode())}

    def found(self, text: bytes, *, labels: bool) -> list[str]:
        """What is wrong with a text that may hold no person, and labels only if `labels`."""
        words = set(_WORD.findall(text.lower()))
        wrong = [self._place(word) for word in words if not (labels and word.startswith(LABEL.encode()))]
        for form, trace in _traces(PERSON) + ([] if labels else _traces(LABEL)):
            if (at := text.find(trace)) >= 0:
                wrong.append(f"something in {form}: {text[max(0, at - 60) : at + 90]!r}")
        return wrong + [f"SHA-256 of {self._place(word)}" for word, digest in self._digests() if digest in text]

    def _digests(self) -> list[tuple[bytes, bytes]]:
        if not hasattr(self, "_known") or len(self._known) < 3 * len(self._words):
            digests = ((word.encode(), hashlib.sha256(word.encode()).digest()) for word in self._words.values())
            self._known = [
                (word, form)
                for word, digest in digests
                for form in (digest[:16], digest.hex()[:32].encode(), base64.b64encode(digest)[:20])
            ]
        return self._known


def _traces(beginning: str) -> list[tuple[str, bytes]]:
    """What is left of a word that begins like this, however it is encoded."""
    plain = beginning.encode()
    percent = "".join(f"%{byte:02x}" for byte in plain)
    shifted = (base64.b64encode(bytes(k) + plain)[-(-8 * k // 6) : 8 * (k + len(plain)) // 6] for k in range(3))
    return [
        *(("base64", form) for form in shifted),
        *(("hex", form.encode()) for form in (plain.hex(), plain.hex().upper())),
        *(("percent-encoding", form.encode()) for form in (percent, percent.upper(), quote(percent))),
        ("UTF-16", beginning.encode("utf-16-le")),
    ]


def encoded(word: str) -> str:
    """Every byte percent-encoded."""
    return "".join(f"%{byte:02X}" for byte in word.encode())
