"""One holds a lock at a time, on systems with `flock` and on Windows."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowlight_cli import locks


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Two descriptors of one file."""
    opened = [os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield opened[0], opened[1]
    for descriptor in opened:
        os.close(descriptor)


def test_a_lock_is_held_once_and_goes_with_its_descriptor(two: tuple[int, int], tmp_path: Path) -> None:
    other = os.open(tmp_path / "a", os.O_RDWR)
    locks.lock(other, wait=True)
    assert not locks.claim(two[0])
    os.close(other)
    assert locks.claim(two[0])
    assert not locks.claim(two[1])


def test_where_nothing_can_be_locked_nobody_has_it(two: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def lock(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "lock", lock)
    assert locks.claim(two[0])
    assert locks.claim(two[1])


@pytest.mark.skipif(sys.platform == "win32", reason="it has its own")
def test_windows_locks_a_byte_behind_the_end(two: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    held = set()

    def locking(descriptor: int, mode: str, count: int) -> None:
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR), count
        if place in held:  # as the C library says it: of LK_LOCK after ten tries
            raise OSError({"wait": errno.EDEADLK, "once": errno.EACCES}[mode], "held")
        held.add(place)

    monkeypatch.setattr(locks, "fcntl", None)
    windows = SimpleNamespace(LK_LOCK="wait", LK_NBLCK="once", locking=locking)
    monkeypatch.setattr(locks, "msvcrt", windows, raising=False)
    assert locks.claim(two[0])
    assert not locks.claim(two[1])
    with pytest.raises(OSError, match="held"):
        locks.lock(two[1], wait=True)
    assert [place[1:] for place in held] == [(locks.FAR, 1)]
