"""Files that belong to no model, such as the net of a metric: rows under `assets` in the manifest.

They lie where weights do: bundled, put into our folder by hand, in the Hub cache, or on the Hub. Every path handed out
has the size and the sha256 that is pinned (or a sha256 that begins so: `manifest.WeightFile`); nothing switches that
off. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowlight_cli import hub, manifest, weights
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest import WeightFile
from lowlight_cli.manifest_checks import refuse, text

ROLE = "asset"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One row: a file, what it is in words, and its licence."""

    name: str
    what: str
    licence: str
    file: WeightFile

    def remedy(self) -> str:
        """How a user gets a file that is not there."""
        repo, revision = hub.source(self.file)
        if not revision:
            return "Reinstall lowlight."
        known = f"sha256 {self.file.sha256}{'...' if self.file.bytes is None else ''}"
        return (
            f"A copy of {self.file.path} ({known}), brought from {repo} at revision {revision}, may "
            f"be put at {weights.store_path(self.file)}."
        )


def assets() -> Mapping[str, Asset]:
    """All assets of the manifest by name."""
    return {name: asset_from_row(name, row) for name, row in manifest.read().get("assets", {}).items()}


def asset_from_row(name: str, row: Mapping[str, Any]) -> Asset:
    """One parsed row; one that cannot be is a ModelUnavailable."""
    fields = dict(row) if isinstance(row, Mapping) else {}
    what, licence = fields.pop("what", None), fields.pop("licence", None)
    if not (text(what) and text(licence)):
        refuse(name, "`what` or `licence` is no text")
    return Asset(name=name, what=what, licence=licence, file=manifest.weight_file(name, {**fields, "role": ROLE}))


def find(name: str, *, offline: bool = False) -> Path:
    """The checked path of an asset, downloaded if it must be; `offline` opens no socket."""
    asset = assets()[name]
    return obtain(asset.file, asset.what, asset.remedy(), offline=offline)


def obtain(file: WeightFile, what: str, hint: str, *, offline: bool = False, progress: bool = False) -> Path:
    """The checked path of any pinned file; `what` and `hint` are for the ModelUnavailable."""
    offline = offline or hub.is_offline()
    found = next((path for path in _places(file) if weights.is_file(path)), None)
    absent = f"There is no {what} on this disk{', and offline nothing is fetched' if offline else ''}."
    fault = _fault(found, file) if found else absent
    if not fault:
        return found
    if offline or (found and found != hub.cached_path(file)) or not hub.source(file)[1]:
        raise ModelUnavailable(fault, f"Delete it. {hint}" if found else hint)
    return _fetched(file, what, hint, again=found is not None, progress=progress)


def _places(file: WeightFile) -> Iterator[Path]:
    """Where the file may lie, in the order of search."""
    if file.bundled:
        yield weights.bundled_path(file)
    yield weights.store_path(file)
    if cached := hub.cached_path(file):
        yield cached


def _fault(path: Path, file: WeightFile) -> str:
    """What is wrong with the bytes at that path; empty for nothing."""
    try:
        weights.check(path, file)
    except ModelUnavailable as error:
        return error.message
    return ""


def _fetched(file: WeightFile, what: str, hint: str, *, again: bool, progress: bool) -> Path:
    """The file from the Hub, over one that is there if `again`; wrong bytes are fetched once more, then deleted."""
    path = hub.fetch(file, what, hint, force=again, progress=progress)
    if not again and _fault(path, file):
        path = hub.fetch(file, what, hint, force=True, progress=progress)
    fault = _fault(path, file)
    if not fault:
        return path
    weights.forget(path)
    repo, revision = hub.source(file)
    raise ModelUnavailable(fault, f"{repo} at revision {revision} serves wrong bytes; they are deleted. {hint}")
