"""XMP that is still true of the picture as it is written: upright, alone, without the thumbnail of the dark one."""

from __future__ import annotations

import re

_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)(\d)")
_FILM = rb"(?:MotionPhoto|MicroVideo)(?:Version|Offset|PresentationTimestampUs)?"
_GAIN_MAP = rb"(?:Version|BaseRenditionIsHDR|GainMapM(?:in|ax)|Gamma|OffsetSDR|OffsetHDR|HDRCapacityM(?:in|ax))"
_CLAIMS = rb"hdrgm:" + _GAIN_MAP + rb"|G?Camera:" + _FILM + rb"|xmpNote:HasExtendedXMP"
"""What is said of gain maps, films and further XMP, which are left out; prefixes are those that everybody writes."""
_ATTRIBUTES = re.compile(rb"\s(?:" + _CLAIMS + rb")\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_ELEMENTS = re.compile(rb"<(" + _CLAIMS + rb"|G?Container:Directory|xmp:Thumbnails)(?=[\s/>])")


def clean_xmp(raw: bytes | None) -> tuple[bytes | None, int | None]:
    """XMP that says no other orientation than 1, holds no thumbnail and speaks of no gain map or film, and the
    orientation it gave before."""
    if not raw:
        return None, None
    found = _ORIENTATION.search(raw)
    orientation = int(found[2]) if found else 0
    cleaned = _without_elements(_ATTRIBUTES.sub(b"", _ORIENTATION.sub(rb"\g<1>1", raw)))
    return cleaned, orientation if 1 <= orientation <= 8 else None


def _without_elements(raw: bytes) -> bytes:
    """XMP without the elements in `_ELEMENTS`. A regular expression alone would search to the end for every tag that is
    opened and never closed; here each name is looked for in vain but once."""
    kept, at, unclosed = [], 0, set()
    for found in _ELEMENTS.finditer(raw):
        start, name = found.start(), found[1]
        if start < at or name in unclosed:
            continue
        tag_end = raw.find(b">", start)
        if tag_end < 0:
            break
        end, stop = b"</" + name + b">", tag_end + 1
        if raw[tag_end - 1 : tag_end] != b"/":
            close = raw.find(end, tag_end)
            if close < 0:
                unclosed.add(name)
                continue
            stop = close + len(end)
        kept.append(raw[at:start])
        at = stop
    return b"".join((*kept, raw[at:]))
