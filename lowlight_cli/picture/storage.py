"""Picture files on a disk: read and decoded, encoded and written, with a remedy for what the system refuses."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

from lowlight_cli import atomic
from lowlight_cli.choices import MAX_PIXELS
from lowlight_cli.errors import FULL, OptionError, OutputExists, PictureError, reason_of
from lowlight_cli.picture import decoding, file
from lowlight_cli.picture.encoding import encode
from lowlight_cli.picture.model import SUFFIXES, Depth, Picture

_REMEDIES = {
    errno.ENOENT: "Check the path: the file, or the folder it lies in, is not there.",
    errno.EACCES: "Check the permissions of the file and of its folder.",
    errno.EPERM: "Check the permissions of the file and of its folder.",
    errno.EROFS: "Choose a folder that is not read-only.",
    **dict.fromkeys(FULL, "Free some space, or choose a folder on another disk."),
    errno.EFBIG: "Choose a folder on a disk that takes larger files.",
    errno.EIO: "Check the disk or the network share, and run again with --skip-existing.",
    errno.ESTALE: "Check the disk or the network share, and run again with --skip-existing.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EISDIR: "Choose the name of a file, not of a folder.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: check it.",
}


def load(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The one still picture in a file, upright, with all its bits; `bytes` are the content of one.

    Raises PictureError for whatever cannot be read whole: no file, no picture, a part missing, an animation, a kind
    that is not supported, more than `max_pixels` pixels (found out before decoding).
    """
    return decoding.decode(source if isinstance(source, bytes) else read(source), max_pixels)


def read(path: Path) -> bytes:
    """The bytes of a picture file, for `load`. PictureError for a folder, a pipe, what changes while it is read, what
    does not answer for `file.STALL` seconds, and what the system will not give."""
    try:
        return file.content(path)
    except (OSError, ValueError) as error:
        raise PictureError(f"The file cannot be read: {reason_of(error)}.", _remedy(error)) from error


def save(
    picture: Picture,
    path: Path,
    *,
    format: str | None = None,
    quality: int | None = None,
    depth: Depth = "keep",
    overwrite: bool = True,
) -> None:
    """Write `picture` to `path`, which appears whole or not at all; `format` None goes by the suffix.

    Options as for `encode`. What the format cannot hold is left out: ask `losses` before, and tell the user.
    """
    write(encode(picture, format or _format_of(path), quality=quality, depth=depth), path, overwrite=overwrite)


def write(data: bytes, path: Path, *, overwrite: bool = True, check: Callable[[], None] = atomic.allow) -> None:
    """Write an encoded picture, whole or not at all; without `overwrite`, OutputExists where a file is there already.

    `check` is called last, see `atomic.replacing`.
    """
    try:
        atomic.write(path, data, overwrite=overwrite, check=check)
    except FileExistsError as error:
        raise OutputExists(f"{path} exists already.", "It was left alone; use --overwrite.") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"Cannot write {path}: {reason_of(error)}.", _remedy(error)) from error


def _format_of(path: Path) -> str:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"The suffix {path.suffix!r} of {path.name} names no format that is written.",
            f"There are {', '.join(SUFFIXES)}.",
        ) from None


def _remedy(error: OSError | ValueError) -> str:
    return _REMEDIES.get(getattr(error, "errno", None) or 0, "Check the path and the disk.")


def pixel_count(path: Path) -> int:
    """Pixels of a picture file from its header, for planning; 0 where they cannot be told: `load` says why."""
    with contextlib.suppress(Exception):
        return file.header_pixels(path)
    return 0
