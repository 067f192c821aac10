"""Text that came from elsewhere, as it may be shown on a terminal or in a report."""

from __future__ import annotations

import unicodedata

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of what is not seen: control characters, marks of direction, halves of pairs, line ends."""
JOINER = "\u200d"
"""Makes one emoji of several."""


def printable(text: str) -> str:
    """Text as it may be shown: what could forge a line or turn the direction of reading is spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c == JOINER or unicodedata.category(c) not in HIDDEN else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()
