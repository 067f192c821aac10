"""Picture files in and out. This is the only place of the package that reads or writes them.

Pillow alone turns dark 16-bit colour black, OpenCV alone decodes half a JPEG without a word, and both lose what is
stored beside the pixels; `load` and `save` do none of that. Messages do not name the file that was read: the caller
knows it.

model        Picture and its integers      decoding  bytes -> Picture
storage      load and save                 encoding  Picture -> bytes
conversion   from arrays and Pillow        deep      16-bit PNG and TIFF, read
file         a file -> its bytes           ppm       PPM and PGM, read
kinds        which kind of file?           png       PNG, checked and written
checks       is the file whole?            avif      AVIF, a check of its own
tiff_checks  is the TIFF whole?            heif      HEIC, by libheif
tiff         TIFF directories, EXIF too    raw       camera raw, by LibRaw
metadata     EXIF, ICC, resolution         extras    what camera raw and HEIC need installed
xmp          XMP, cleaned
"""

from __future__ import annotations

from lowlight_cli.choices import MAX_PIXELS
from lowlight_cli.picture.conversion import from_array, from_pil
from lowlight_cli.picture.encoding import DEEP, QUALITY, encode, losses, samples, stored
from lowlight_cli.picture.metadata import resized
from lowlight_cli.picture.model import SUFFIXES, Depth, Picture, to_float, to_integers
from lowlight_cli.picture.storage import load, pixel_count, read, save, write

__all__ = [
    "DEEP",
    "MAX_PIXELS",
    "QUALITY",
    "SUFFIXES",
    "Depth",
    "Picture",
    "encode",
    "from_array",
    "from_pil",
    "load",
    "losses",
    "pixel_count",
    "read",
    "resized",
    "samples",
    "save",
    "stored",
    "to_float",
    "to_integers",
    "write",
]
