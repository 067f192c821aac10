"""The folders that outputs go into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowlight_cli.errors import OptionError
from lowlight_cli.jobs import Job


def make_folder(out: Path, jobs: Sequence[Job]) -> None:
    """Make the folder of the output, so that one that cannot be made is told once."""
    make(jobs[0].target.parent if len(jobs) == 1 else out, "--out")


def make(folder: Path, option: str) -> None:
    """Make a folder that an option names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be made: {error.strerror}.", f"Choose another {option}.") from error
