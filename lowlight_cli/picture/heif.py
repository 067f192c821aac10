"""HEIC and HEIF files, decoded by libheif (the `heif` extra): the main picture, upright, with all its bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.picture import checks, metadata
from lowlight_cli.picture.extras import reader
from lowlight_cli.picture.model import Picture, bands, dtype, rescaled, unmultiplied

if TYPE_CHECKING:
    from pillow_heif import HeifImage

SECOND_PICTURE = "The HEIC holds {count} pictures; only the main one was read."
AUXILIARY = "The HEIC holds more than the picture (a gain map or depths), which was left behind."


def decode(data: bytes, _: str, max_pixels: int) -> Picture:
    """The main picture, turned as libheif does it: the orientation in EXIF says nothing in a HEIC."""
    module = _pillow_heif()
    _check_boxes(data)
    container = module.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    image = container[container.primary_index]
    checks.check_size(*image.size, max_pixels)
    notices = _notices(image, len(container))
    samples = np.asarray(image)
    samples = samples.reshape(*samples.shape[:2], -1)
    pixels, alpha = _spread(samples, image.info["bit_depth"], premultiplied=image.premultiplied_alpha)
    given = metadata.given(image.info, "heic")
    fields = metadata.profile(given, samples.shape[2] < 3, *notices)
    return Picture(pixels=pixels, alpha=alpha, **fields, **given.fields)


def pixel_count(path: Path) -> int:
    """Pixels of the main picture as the header tells."""
    width, height = _pillow_heif().open_heif(path).size
    return width * height


def _pillow_heif() -> Any:
    return reader("heif", "a HEIC file")  # 40 ms, and it brings a decoder of video


def _check_boxes(data: bytes) -> None:
    """Follow the boxes of the file to its end; libheif looks only for those it needs."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        at += len(data) - at if size == 0 else max(size, 8)  # 0: to the end
    if at > len(data):
        raise checks.damaged("it ends before the end of the HEIC picture")


def _notices(image: HeifImage, count: int) -> list[str]:
    """What to tell of the file. Values that no curve near sRGB's encodes are a PictureError."""
    info = image.info
    nclx = {} if "icc_profile" in info else info.get("nclx_profile", {})
    foreign = checks.foreign_colours("HEIC", nclx.get("color_primaries"), nclx.get("transfer_characteristics"))
    told = [SECOND_PICTURE.format(count=count)] * (count > 1)
    told += [AUXILIARY] * bool(info["depth_images"] or info["aux"])
    return [*told, *foreign]


def _spread(samples: NDArray, bits: int, *, premultiplied: bool) -> tuple[NDArray, NDArray | None]:
    """(pixels, alpha) at 8 or 16 bits of samples (H, W, 1 to 4); 10 and 12 bits are scaled, so that white is white."""
    height, width, channels = samples.shape
    colours = 3 if channels > 2 else 1
    kind = dtype(8 if bits == 8 else 16)
    pixels = np.empty((height, width, 3), kind)
    alpha = np.empty((height, width), kind) if channels in (2, 4) else None
    top, full = 2**bits - 1, np.iinfo(kind).max
    for rows in bands(height, width):
        part = rescaled(samples[rows], top, full).astype(kind, copy=False)
        pixels[rows] = part[..., :colours]
        if alpha is not None:
            alpha[rows] = part[..., -1]
            if premultiplied:
                pixels[rows] = unmultiplied(pixels[rows], alpha[rows])
    return pixels, alpha
