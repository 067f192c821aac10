"""Locks of open files and folders, gone when their descriptor is closed. Standard library only."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def claim(descriptor: int) -> bool:
    """Lock it without waiting; False: somebody else has it.

    Where nothing can be locked (on Windows, on some shares), nobody has.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a share without locks
    return True
