"""Files that belong to no model, such as the net of a metric: rows under `assets` in the manifest.

They lie where weights do, and are searched, checked and fetched as they are: `weights.obtain`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowlight_cli import hub, manifest, weights
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
    hint = asset.remedy()
    return weights.obtain(asset.file, asset.what, hint, f"Delete it. {hint}", offline=offline)
