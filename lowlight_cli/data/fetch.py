"""Data sets from the Hub, fetched when a user asks for it and never else.

The archive is pinned by revision, size and sha256, and checked before it is opened. It stays in the Hub cache.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lowlight_cli import hub, weights
from lowlight_cli.data.archive import unpack
from lowlight_cli.data.catalog import SETS, DataSet
from lowlight_cli.data.sets import VARIABLE, Found, data_root, find, lookup
from lowlight_cli.errors import ModelUnavailable, NoInput, OptionError, OutputExists
from lowlight_cli.manifest import WeightFile


def download(
    name: str, root: Path | None = None, split: str = "test", *, offline: bool = False, progress: bool = False
) -> Found:
    """As `sets.find`, but a set that is not there is fetched and unpacked into `root` first.

    NoInput for whatever goes wrong on the way; then nothing is left in `root`.
    """
    data = lookup(name)
    if data.archive is None:
        known = ", ".join(other.name for other in SETS.values() if other.archive)
        raise OptionError(f"{data.name} cannot be fetched.", f"Fetch it by hand; only {known} can be.")
    with contextlib.suppress(NoInput):
        return find(name, root, split)
    target = data_root(root) / data.archive_folder
    if os.path.lexists(target):
        raise OutputExists(f"{target} is there, but holds no {data.name}.", "Remove it, or choose another --root.")
    unpack(_archive(data, data.archive, offline, progress), target, inside=data.archive_folder)
    return find(name, root, split)


def _archive(data: DataSet, file: WeightFile, offline: bool, progress: bool) -> Path:
    """The checked archive in the Hub cache, fetched if it must be."""
    what = f"{file.path} of {data.name}"
    hint = f"Or unpack a copy of {file.path} (sha256 {file.sha256}) yourself, and name its folder with {VARIABLE}."
    try:
        return weights.obtain(file, what, hint, f"Delete it. {hint}", offline=offline, progress=progress)
    except ModelUnavailable as error:
        raise NoInput(error.message, error.hint) from error
    except OSError as error:
        failed = hub.unavailable(f"{what} cannot be used", error, hint)
        raise NoInput(failed.message, failed.hint) from error
