"""The folder of a run: what may begin or go on there, and that nobody else writes to it meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lowlight_cli import locks
from lowlight_cli.errors import OptionError
from lowlight_cli.tasks.train_record import CONFIG
from lowlight_cli.training.loop import BEST, DEPLOYED, LAST

Stamps = tuple[tuple[int, int, int] | None, ...]
"""Number, size and time of the files that a run writes; None for one that is not there."""


def check(folder: Path, *, resume: bool) -> Stamps:
    """A new run does not write over the checkpoint or the weights of an old one, and a resumed one goes on with its own
    kind: an OptionError, else what the folder holds now, for `held`."""
    writable(folder)
    there, begun = (folder / CONFIG).exists(), (folder / LAST).exists()
    weights = any((folder / name).exists() for name in (BEST, DEPLOYED))
    anew = "It has weights and no checkpoint: use another --out, or delete the folder and start anew."
    if not resume:
        if begun or weights:
            remedy = "Use --resume, or another --out." if there else "Use another --out."
            raise OptionError(f"{folder} holds a run already.", remedy if begun or not there else anew)
    elif not begun:
        remedy = anew if weights else "Leave out --resume: the same command starts anew."
        raise OptionError(f"{folder} holds no checkpoint to resume from.", remedy)
    elif not there:
        remedy = "Start anew from its weights with --init, in another --out."
        raise OptionError(f"{folder} lacks {CONFIG}.", remedy)
    return stamps(folder)


def writable(folder: Path) -> None:
    """An OptionError, before any work, for what cannot be a run's folder."""
    known = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not known.is_dir():
        raise OptionError(f"--out {folder}: {known} is not a folder.", "Choose another --out.")
    if not os.access(known, os.W_OK | os.X_OK):
        raise OptionError(f"--out {folder}: {known} cannot be written to.", "Mend its permissions, or choose another.")


def stamps(folder: Path) -> Stamps:
    """See `Stamps`."""
    found: list[tuple[int, int, int] | None] = []
    for name in (CONFIG, LAST, BEST, DEPLOYED):
        try:
            facts = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found)


@contextlib.contextmanager
def held(folder: Path, before: Stamps) -> Iterator[None]:
    """Make a run's folder and lock it: an OptionError where another training writes to it now, or did since `before`
    was taken."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if stamps(folder) != before:
            told = f"Another training wrote to {folder} while this one was getting ready."
            raise OptionError(told, "Look at that one; then use --resume, or another --out.")
        yield


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else may hold the folder, where folders can be locked."""
    if os.name == "nt":  # nor opened
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not locks.claim(descriptor):
            remedy = "Wait until it has ended or stop it, or choose another --out."
            raise OptionError(f"Another training writes to {folder} now.", remedy)
        yield
    finally:
        os.close(descriptor)
