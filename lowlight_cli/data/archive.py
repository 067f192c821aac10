"""Zip archives from elsewhere, unpacked as a whole or not at all.

Every member is looked at before the first byte is written. Nothing is written outside the new folder, nothing but
plain files and folders, and no more than was announced.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from lowlight_cli import atomic
from lowlight_cli.errors import FULL, NoInput, OutputExists, reason_of

MAX_FILES = 20_000
"""Members of an archive, folders included. LSRW, the largest known set, has 11,300 pictures."""
MAX_BYTES = 20 * 10**9
"""Unpacked: ample for any known set."""
CHUNK = 1 << 20

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""How `zipfile` reports a broken archive, or one of a kind that it cannot read."""


def unpack(
    archive: Path, target: Path, *, inside: str = "", max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES
) -> None:
    """Make the folder `target` from a zip, or from its folder `inside` alone; it appears whole or not at all.

    NoInput for an archive that is damaged, too large, or not safe, and for a disk that is full; OutputExists where
    `target` is there already.
    """
    if os.path.lexists(target):
        raise OutputExists(f"{target} is there already.", "Remove it, or choose another folder.")
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            check(members, max_files=max_files, max_bytes=max_bytes)
            target.parent.mkdir(parents=True, exist_ok=True)
            _check_room(target.parent, sum(member.file_size for member in members))
            _unpack_into(target, zipped, inside)
    except NoInput as error:
        raise NoInput(f"{archive} is not unpacked: {error.message}", error.hint) from None
    except DAMAGE as error:
        raise NoInput(f"{archive} is not unpacked: it is damaged ({error}).", "Fetch it again.") from error
    except OSError as error:
        raise _failure(archive, target, error) from error


def check(members: Sequence[zipfile.ZipInfo], *, max_files: int, max_bytes: int) -> None:
    """NoInput where a member, or all of them together, must not be unpacked."""
    if len(members) > max_files:
        raise NoInput(f"it has {len(members)} members, more than {max_files}.", "")
    if (size := sum(member.file_size for member in members)) > max_bytes:
        raise NoInput(f"it would take {size} bytes, more than {max_bytes}.", "")
    seen: dict[str, tuple[str, bool]] = {}
    for member in members:
        if problem := _problem(member):
            raise NoInput(f"the member {member.orig_filename!r} {problem}.", "Do not trust this archive.")
        _refuse_collision(member, seen)


def _problem(member: zipfile.ZipInfo) -> str:
    """Why one member must not be unpacked; empty: it may."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    parts = name.rstrip("/").split("/")
    if member.flag_bits & 0x1:
        return "is encrypted"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if kind == stat.S_IFLNK else "is not a plain file"
    if name.startswith(("/", "\\")) or ":" in name:
        return "has an absolute name"
    if ".." in parts or "\\" in name:
        return "leads out of its folder"
    if "" in parts or any(part != part.rstrip(". ") for part in parts) or not name.isprintable():
        return "has a name that not every system can hold"
    return "" if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else "is packed in a rare way"


def _refuse_collision(member: zipfile.ZipInfo, seen: dict[str, tuple[str, bool]]) -> None:
    """Two names that are one where case and Unicode form do not count; `seen` has (name, is a folder) by its key."""
    parts = member.filename.rstrip("/").split("/")
    for end in range(1, len(parts) + 1):
        name, folder = "/".join(parts[:end]), end < len(parts) or member.is_dir()
        key = unicodedata.normalize("NFC", name).casefold()
        other = seen.get(key)
        if other is not None and (other != (name, True) or not folder):
            raise NoInput(f"the members {other[0]!r} and {name!r} have one name.", "Do not trust this archive.")
        seen[key] = (name, folder)


def _check_room(folder: Path, size: int) -> None:
    """NoInput where the disk cannot take that many bytes more."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise NoInput(
            f"the disk of {folder} has {free} bytes left, {size} are needed.", "Free some space, or choose another."
        )


def _unpack_into(target: Path, zipped: zipfile.ZipFile, inside: str) -> None:
    """All members in a folder beside `target`, which then takes its name: one that was killed never has it."""
    with tempfile.TemporaryDirectory(prefix=atomic.PREFIX, dir=target.parent) as name:
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        for member in zipped.infolist():
            path = fresh / member.filename
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(zipped, member, path)
        found = fresh / inside
        if not found.is_dir() or not any(found.iterdir()):
            raise NoInput(f"it holds no {inside or 'files'}.", "Is this the right archive?")
        found.rename(target)


def _write(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """One member as a new file, with exactly as many bytes as its entry states; `zipfile` checks their CRC."""
    written = 0
    with zipped.open(member) as source, path.open("xb") as out:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > member.file_size:
                break
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if written != member.file_size:
        raise NoInput(f"the member {member.filename!r} has not the {member.file_size} bytes that are stated.", "")


def _failure(archive: Path, target: Path, error: OSError) -> NoInput | OutputExists:
    """What the system refused, in our words."""
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
        return OutputExists(f"{target} has appeared meanwhile.", "Nothing was written to it.")
    full = error.errno in FULL
    reason = "the disk is full" if full else reason_of(error)
    remedy = "Free some space, or choose another folder." if full else "Check the file, and the folder's permissions."
    return NoInput(f"{archive} cannot be unpacked to {target}: {reason}.", f"{remedy} Nothing was left behind.")
