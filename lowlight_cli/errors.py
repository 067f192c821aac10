"""Everything `lowlight` raises on purpose, and the exit code each error ends the command with.

LowlightError
├── OptionError         2   an option or its value makes no sense
├── OutputExists        2   a target is already there, or two inputs share one
├── NoInput             3   nothing to work on
├── ModelUnavailable    4   unknown model, weights missing, wrong bytes
├── DeviceUnavailable   5   the device or back end asked for cannot be had
├── PictureError        1   one picture cannot be read, processed or written
│   ├── LogError        1   the evidence log cannot be written: the run stops
│   └── pairs.Unpaired  3   pictures that should be pairs are not, before any work
├── OutOfMemory         1   a tile does not fit into memory (the caller may try a smaller one)
├── NotWritten          1   what was made cannot be written
├── Diverged            1   a training went astray; its last good checkpoint is kept
└── pdf.PrintFailed     1   the browser did not print a report
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

NAMED = 5
"""How many files a message names."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the system's errors for a disk that is full."""

NO_MEMORY = ("failed to map segment", "cannot allocate memory", "can't start new thread")
"""What the loader of packages and Python's threads say where memory ran out."""
OPENCV_NO_MEMORY = -4

DONE, SOME_FAILED, USAGE, NO_INPUT, NO_MODEL, NO_DEVICE, ALL_FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130


def exit_code(failed: int, others: int, *, interrupted: bool = False) -> int:
    """Of a run in which so many pictures failed, and so many others did not."""
    if interrupted:
        return INTERRUPTED
    if not failed:
        return DONE
    return SOME_FAILED if others else ALL_FAILED


def some(names: Sequence[str], most: int = NAMED) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def reason_of(error: BaseException) -> str:
    """What an exception says: of one of the system's its words alone, without number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class LowlightError(Exception):
    """An error a user can act on: what happened with the value found, and a remedy."""

    exit_code = USAGE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class OptionError(LowlightError):
    """An option or its value makes no sense."""


class OutputExists(LowlightError):
    """A target is already there, or two inputs share one."""


class NoInput(LowlightError):
    """Nothing to work on."""

    exit_code = NO_INPUT


class ModelUnavailable(LowlightError):
    """Unknown model, weights missing, or wrong bytes."""

    exit_code = NO_MODEL


class DeviceUnavailable(LowlightError):
    """The device or back end asked for cannot be had."""

    exit_code = NO_DEVICE


class PictureError(LowlightError):
    """One picture cannot be read, processed or written."""

    exit_code = SOME_FAILED


class LogError(PictureError):
    """The evidence log cannot be written."""


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether Python, OpenCV, the loader of packages or a thread that cannot begin says that memory ran out."""
    if type(error).__module__ == "cv2":
        return getattr(error, "code", None) == OPENCV_NO_MEMORY
    return isinstance(error, MemoryError) or (
        isinstance(error, (RuntimeError, ImportError)) and any(sign in str(error) for sign in NO_MEMORY)
    )


class OutOfMemory(LowlightError):
    """A tile does not fit into memory."""

    exit_code = SOME_FAILED


class NotWritten(LowlightError):
    """What was made cannot be written: a full disk, say."""

    exit_code = SOME_FAILED


class Diverged(LowlightError):
    """A training went astray; its last good checkpoint is kept."""

    exit_code = SOME_FAILED
