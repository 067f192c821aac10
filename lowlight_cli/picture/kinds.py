"""Which kind of file some bytes are, by content: the suffix of a file proves nothing."""

from __future__ import annotations

import re

from lowlight_cli.errors import PictureError
from lowlight_cli.picture import tiff, tiff_checks

READABLE = "JPEG, PNG, WebP, TIFF, BMP, AVIF, PPM, camera raw and HEIC are read"

_STRANGERS = {
    rb"GIF8": "a GIF",
    rb"(II\+\0|MM\0\+)": "a BigTIFF",
    rb"(\xff\x0a|\0\0\0\x0cJXL )": "a JPEG XL",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "a JPEG 2000",
    rb"8BPS": "a Photoshop",
    rb"%PDF": "a PDF",
    rb"v/1\x01": "an OpenEXR",
    rb"P[fF]\s": "a floating-point PFM",
}

_KINDS = {
    rb"\xff\xd8\xff": "jpg",
    rb"\x89PNG\r\n\x1a\n": "png",
    rb"RIFF....WEBP": "webp",
    rb"BM": "bmp",
    rb"P[1-6][\s#]": "ppm",
    rb"....ftyp(avif|avis)|....ftyp(mif1|msf1).{0,64}avif": "avif",
    rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)": "heic",
    # CR2, ORF, RW2, RAF, CR3, MRW, X3F and CRW; the others are TIFF files, see `tiff_checks.is_raw`.
    rb"II\*\0....CR|II(RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|....ftypcrx |\0MRM|FOVb|II\x1a\0\0\0HEAPCCDR": "raw",
}


def sniff(data: bytes) -> str:
    """The format name. PictureError for what is empty, no picture, or of a kind that is not read."""
    if not data:
        raise PictureError("The file is empty (0 bytes).", "Copy it again from its source.")
    for pattern, kind in _KINDS.items():
        if re.match(pattern, data[:96], re.DOTALL):
            return kind
    for pattern, name in _STRANGERS.items():
        if re.match(pattern, data[:96], re.DOTALL):
            raise PictureError(f"This is {name} file, which is not supported.", f"Convert it first; {READABLE}.")
    if tiff.byte_order(data):
        return "raw" if tiff_checks.is_raw(data) else "tiff"
    raise PictureError(f"This is not a picture: it begins with {bytes(data[:12])!r}.", f"{READABLE}.")
