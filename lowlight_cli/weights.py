"""Where a model's weights lie: bundled with the package, imported or exported, in the Hub cache, or on the Hub.

Every path handed out has the size and the sha256 that the manifest states; nothing switches that off. Looking for
files costs neither the network nor an import that only fetching, importing or exporting needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from lowlight_cli import __version__, atomic, hub, manifest, regular
from lowlight_cli.errors import ModelUnavailable, reason_of
from lowlight_cli.manifest import ModelSpec, WeightFile
from lowlight_cli.places import expanded

SIDECAR = "exported.json"
"""Beside exported files: their sha256 and the version that wrote them."""


class Copy(NamedTuple):
    """A file on this disk, unchecked. `place`: `bundled`, `imported`, `exported` or `cached`."""

    place: str
    path: Path


def home() -> Path:
    """Our own folder for imported and exported weights: `LOWLIGHT_HOME`, else in the platform's cache folder."""
    env = os.environ.get
    if chosen := env("LOWLIGHT_HOME"):
        return expanded(chosen)
    if sys.platform == "win32":
        base = env("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = env("XDG_CACHE_HOME") or "~/.cache"
    return expanded(base) / "lowlight"


def find(spec: ModelSpec, role: str, *, offline: bool = False, progress: bool = False) -> Path:
    """The checked path of that file, downloaded if it must be; `offline` opens no socket."""
    file = spec.file(role)
    if file is None:
        return _ready_export(spec, role) or _raise_no_file(spec, role)
    what, hint = f"{file.path} of {spec.name!r}", hub.remedy(spec, file)
    return obtain(file, what, hint, offline=offline, progress=progress)


def obtain(
    file: WeightFile, what: str, hint: str, damaged: str = "", *, offline: bool = False, progress: bool = False
) -> Path:
    """As `find`, for any pinned file; `what`, `hint` (how to get one) and `damaged` (what to do with a bad copy, else
    as for models) are for the ModelUnavailable."""
    offline = offline or hub.is_offline()
    found = next(_there(_places(file)), None)
    if found is not None and (offline or found.place != "cached"):
        return check(found.path, file, damaged)
    if found is None and (offline or not hub.source(file)[1]):
        why = ", and offline nothing is fetched (--offline, HF_HUB_OFFLINE)" if offline else ""
        raise ModelUnavailable(f"There is no {what} on this disk{why}.", hint)
    path = found.path if found is not None else hub.fetch(file, what, hint, progress=progress)
    if not _problem(path, file):
        return path
    path = hub.fetch(file, f"{what}, of which the copy at {path} is damaged,", hint, force=True, progress=progress)
    repo, revision = hub.source(file)
    try:
        return check(path, file, f"{repo} at revision {revision} serves wrong bytes; they are deleted. {hint}")
    except ModelUnavailable:
        forget(path)
        raise


def find_or_export(
    spec: ModelSpec,
    role: str,
    export: Callable[[Path], None],
    *,
    offline: bool = False,
    progress: bool = False,
) -> Path:
    """As `find`; a row without that ONNX file has `export(folder)` write `<graph>.onnx` files, once per version."""
    if spec.file(role) is not None:
        return find(spec, role, offline=offline, progress=progress)
    folder = _export_folder(spec)
    if folder is None or not role.startswith("onnx-"):
        _raise_no_file(spec, role)
    if ready := _ready_export(spec, role):
        return ready
    try:
        _export_into(folder, export)
    except OSError as error:
        if ready := _ready_export(spec, role):  # another process was faster
            return ready
        raise hub.unavailable(f"The ONNX form of {spec.name!r} cannot be written to {folder}", error) from error
    return _ready_export(spec, role) or _raise_no_file(spec, role)


def present(spec: ModelSpec, role: str) -> Path | None:
    """The checked path of that file if it is on this disk, else None. As in `find` only the first copy counts."""
    file = spec.file(role)
    if file is None:
        return _ready_export(spec, role)
    found = next(copies(spec, role), None)
    return found.path if found is not None and not _problem(found.path, file) else None


def copies(spec: ModelSpec, role: str) -> Iterator[Copy]:
    """Every copy of that file on this disk in the order of search, unchecked."""
    file, folder = spec.file(role), _export_folder(spec)
    places = _places(file) if file is not None else ()
    if file is None and folder and role.startswith("onnx-"):
        places = (Copy("exported", folder / f"{role.removeprefix('onnx-')}.onnx"),)
    return _there(places)


def _there(places: Iterable[Copy]) -> Iterator[Copy]:
    """Those that are files; in a folder that may not be read, none is."""
    return (copy for copy in places if os.path.isfile(copy.path))  # noqa: PTH113 - `Path.is_file` raises for that folder


def _places(file: WeightFile) -> Iterator[Copy]:
    """Where a file may lie, in the order of search."""
    if file.bundled:
        yield Copy("bundled", bundled_path(file))
    yield Copy("imported", store_path(file))
    if cached := hub.cached_path(file):
        yield Copy("cached", cached)


def check(path: Path, file: WeightFile, hint: str = "") -> Path:
    """`path` itself, if its size and sha256 are those of the manifest; `hint` in place of what fits a model's file."""
    if problem := _problem(path, file):
        raise not_as_stated(path, file, problem, hint)
    return path


def not_as_stated(path: Path, file: WeightFile, problem: str, hint: str = "") -> ModelUnavailable:
    """The error for a file with that problem; `hint` as of `check`."""
    advice = "Fetch it again with `lowlight models pull`, or give `lowlight models import` a good copy."
    if path == bundled_path(file):
        advice = "It came with lowlight: reinstall lowlight."
    elif path == store_path(file):
        advice = "Remove it with `lowlight models rm`, or give `lowlight models import` a good copy."
    return ModelUnavailable(f"{path} is not the file that the manifest states: {problem}.", hint or advice)


def verify(spec: ModelSpec) -> Iterator[tuple[WeightFile, Copy, str]]:
    """Every copy of the row's files on this disk, hashed, with what is wrong with it (empty: nothing).

    A bundled file that is missing is wrong; other files need not be here.
    """
    for file in spec.files:
        found = [*copies(spec, file.role)]
        if file.bundled and all(copy.place != "bundled" for copy in found):
            found.insert(0, Copy("bundled", bundled_path(file)))
        for copy in found:
            yield file, copy, _problem(copy.path, file)


def _problem(path: Path, file: WeightFile) -> str:
    """What is wrong with a file, empty for a good one. Size first; both hashes are named in any case."""
    try:
        size = path.stat().st_size
        digest = sha256_of(path)
    except OSError as error:
        return f"it cannot be read ({reason_of(error)})"
    if file.bytes is None:
        wrong, wanted = not digest.startswith(file.sha256), f"a sha256 that begins with {file.sha256}"
    else:
        wrong = (size, digest) != (file.bytes, file.sha256)
        wanted = f"{file.bytes} bytes, sha256 {file.sha256}"
    return f"{size} bytes, sha256 {digest}; expected {wanted}" if wrong else ""


def sha256_of(path: Path) -> str:
    """The sha256 of a regular file, as 64 hex digits; an OSError for others."""
    regular.refuse_others(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def import_file(path: Path) -> tuple[ModelSpec, WeightFile, Path]:
    """Copy a file of weights into our folder: recognised by its sha256, whatever its name, or refused."""
    rows = [(spec, file) for spec in manifest.models().values() for file in spec.files]
    try:
        digest = sha256_of(path)
        match = next(((spec, file) for spec, file in rows if file.sha256 == digest), None)
        if match is None:
            alike = next(((spec, file) for spec, file in rows if Path(file.path).name == path.name), None)
            hint = "`lowlight models show NAME` shows those of a model; weights of your own go with --weights FILE."
            if alike is not None:
                hint = f"That of {alike[0].name} has sha256 {alike[1].sha256}: it is damaged, or of another version."
            raise ModelUnavailable(f"{path} has sha256 {digest}, which no model has.", hint)
        target = store_path(match[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(target) as temporary:
            temporary.write_bytes(path.read_bytes())
            check(temporary, match[1])
    except OSError as error:
        raise hub.unavailable(f"{path} cannot be imported into {home()}", error) from error
    return *match, target


def remove(spec: ModelSpec) -> list[Path]:
    """Delete that row's imported, exported and cached files, and say which; bundled ones stay."""
    import shutil

    removed = []
    try:
        for role in [file.role for file in spec.files]:
            for _, path in [copy for copy in copies(spec, role) if copy.place != "bundled"]:
                forget(path)
                removed.append(path)
        folder = _export_folder(spec)
        if folder is not None and folder.is_dir():
            shutil.rmtree(folder)
            removed.append(folder)
    except OSError as error:
        raise hub.unavailable(f"Files of {spec.name!r} cannot be removed", error) from error
    return removed


def bundled_path(file: WeightFile) -> Path:
    """Where a bundled file lies."""
    return manifest.PACKAGE / "bundled" / file.path


def store_path(file: WeightFile) -> Path:
    """Where an imported file lies."""
    return home() / "weights" / file.sha256 / Path(file.path).name


def _raise_no_file(spec: ModelSpec, role: str) -> NoReturn:
    """A role the row does not have; the ONNX form may still be exported from the torch file."""
    if spec.untrained:
        raise ModelUnavailable(
            f"No weights of {spec.name!r} are published yet.",
            f"Train some (`lowlight train --model {spec.name}`) and name them with --weights.",
        )
    roles = ", ".join(file.role for file in spec.files) or "none"
    hint = "It is exported on the first run with that back end." if _export_folder(spec) else "Choose another back end."
    raise ModelUnavailable(f"Model {spec.name!r} has no {role!r} file; it has: {roles}.", hint)


def forget(path: Path) -> None:
    """Delete a file and, for one in the Hub cache, the blob it links to unless another snapshot needs it."""
    blob = _linked(path)
    path.unlink(missing_ok=True)
    if blob is not None and blob not in map(_linked, (blob.parents[1] / "snapshots").rglob("*")):
        blob.unlink(missing_ok=True)


def _linked(path: Path) -> Path | None:
    """What a symbolic link points to, one step; None for other files."""
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else None


def _export_folder(spec: ModelSpec) -> Path | None:
    """Where the ONNX form lies that was exported here; None for a row without torch weights."""
    file = spec.file("torch")
    return home() / "exported" / file.sha256 if file is not None else None


def _ready_export(spec: ModelSpec, role: str) -> Path | None:
    """The exported graph of that role, if it and its external data have the sha256 they were written with."""
    folder = _export_folder(spec)
    if folder is None or not role.startswith("onnx-"):
        return None
    graph = f"{role.removeprefix('onnx-')}.onnx"
    try:
        written = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        mine = {name: digest for name, digest in written["sha256"].items() if name.startswith(graph)}
        same = all(sha256_of(folder / name) == digest for name, digest in mine.items())
        return folder / graph if graph in mine and same and written["version"] == __version__ else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _export_into(folder: Path, export: Callable[[Path], None]) -> None:
    """Let `export` write into a new folder, which then takes the place of `folder` as a whole."""
    import tempfile

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=atomic.PREFIX, dir=folder.parent) as name:
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        export(fresh)
        hashes = {path.name: sha256_of(path) for path in sorted(fresh.iterdir())}
        document = json.dumps({"version": __version__, "sha256": hashes}, indent=2)
        (fresh / SIDECAR).write_text(document, encoding="utf-8")
        if folder.exists():
            folder.rename(Path(name) / "stale")
        fresh.rename(folder)
