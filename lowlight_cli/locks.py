"""Locks of open files and folders, gone when their descriptor is closed. Standard library only."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

FAR = 2**40
"""Windows locks bytes, and nobody else may read those: this one, far behind the end, stands for the file."""


def lock(descriptor: int, *, wait: bool) -> None:
    """Lock it; a BlockingIOError where somebody else has it and this is not to wait, another OSError where nothing can
    be locked, such as folders on Windows. There, waiting ends with an OSError too, after 10 seconds."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    os.lseek(descriptor, FAR, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error


def claim(descriptor: int) -> bool:
    """Lock it without waiting; False: somebody else has it.

    Where nothing can be locked (on some shares), nobody has.
    """
    try:
        lock(descriptor, wait=False)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
