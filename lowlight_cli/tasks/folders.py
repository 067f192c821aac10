"""The folders that outputs go into."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowlight_cli.errors import OptionError, PictureError, reason_of
from lowlight_cli.jobs import Job, identity


def make_folder(out: Path, jobs: Sequence[Job]) -> Path:
    """Make the folder of the output, so that one that cannot be made is told once. `out` may name the one file; with
    nothing to write none is made."""
    if not jobs:
        return out
    folder = out.parent if jobs[0].target == out else out
    make(folder, "--out")
    return folder


def make(folder: Path, option: str) -> None:
    """Make a folder that an option names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be made: {reason_of(error)}.", f"Choose another {option}.") from error


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Held]:
    """The folder as it is now; where the system can, it is kept open, so that no other one gets its number."""
    descriptor = None
    with contextlib.suppress(OSError, AttributeError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Held(folder)
    finally:
        if descriptor is not None:
            os.close(descriptor)


class Held:
    """The folder of a run's outputs. A disk is unplugged, a share unmounted, a folder moved away or replaced by a link:
    what then bears its name is not what the user named."""

    def __init__(self, path: Path) -> None:
        self.path, self.identity = path, identity(path)

    def check(self) -> None:
        """PictureError unless the folder is still the one it was."""
        if (now := identity(self.path)) != self.identity:
            what = "is gone: it was moved away or deleted" if now is None else "is another folder than at first"
            raise PictureError(
                f"The output folder {self.path} {what}.",
                "Put it back, or plug its disk in again, and run again with --skip-existing.",
            )
