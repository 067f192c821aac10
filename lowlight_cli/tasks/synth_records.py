"""The folder of `lowlight synth`: `synth.json` tells of what it is made, `synth.jsonl` holds a line a pair.

A line is added as soon as both files of its pair are whole, by whichever process made them. What a killed run left
unfinished is never believed: those pairs are made again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowlight_cli import atomic, jsonl, locks, weights
from lowlight_cli.data.scenes import RECORDS
from lowlight_cli.errors import NAMED, OptionError, OutputExists, reason_of, some

SETTINGS = "synth.json"

Record = dict[str, Any]
TEXTS = ("folder", "name", "photo", "photo_sha256")
"""What every record holds as text."""


def paths(out: Path, folder: str, name: str) -> tuple[Path, Path]:
    """Where the low and the high picture of a pair lie."""
    return out / folder / "low" / name, out / folder / "high" / name


def refuse_unreachable(out: Path) -> None:
    """An OptionError for a path that leads nowhere, such as a link to itself; one that is not there yet is fine."""
    try:
        out.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(out, error) from error


def unusable(out: Path, error: OSError) -> OptionError:
    """The error for a folder that the system will not give."""
    return OptionError(f"{out} cannot be used: {reason_of(error)}.", "Choose another --out.")


def prepare(out: Path, told: Mapping[str, Any], *, resume: bool) -> list[Record]:
    """Make the folder and keep the settings there; gives the records of the run that is resumed."""
    try:
        holds = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
        if holds and not resume:
            names = ", ".join(holds[:NAMED])
            raise OutputExists(f"{out} is not empty: it holds {names}.", "Use --resume, or another --out.")
        if holds:
            refuse_other_settings(out, told)
            return load(out)
        out.mkdir(parents=True, exist_ok=True)
        atomic.write(out / SETTINGS, json.dumps(told, indent=2).encode())
    except OSError as error:
        raise unusable(out, error) from error
    return []


def refuse_other_settings(out: Path, told: Mapping[str, Any]) -> None:
    """An OptionError that names what differs from the run that made the folder."""
    try:
        kept = json.loads((out / SETTINGS).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"{out} holds no run that can be resumed.", "Choose another --out.") from error
    if not isinstance(kept, dict) or not isinstance(kept.get("photos"), list):
        raise OptionError(f"{out} holds no run that can be resumed: its photos are not told.", "Choose another --out.")
    if differ := sorted(name for name in told.keys() - {"photos"} if kept.get(name) != told[name]):
        raise OptionError(
            f"{out} was made with other values of: {', '.join(differ)}.", "Repeat them, or choose another --out."
        )
    if kept["photos"] != told["photos"]:
        before, now = map(str, kept["photos"]), told["photos"]
        raise other_photos(*compared(list(before), now))


def compared(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """In which ways two lists of photos differ."""
    known, given = {*before}, {*now}
    gone, new = [name for name in before if name not in given], [name for name in now if name not in known]
    return [f"{what}: {some(names)}" for what, names in (("gone", gone), ("new", new)) if names] or ["another order"]


def other_photos(*ways: str) -> OptionError:
    """The error for photos that are not those of the run to be resumed."""
    return OptionError(
        f"The photos differ: {'; '.join(ways)}.", "Give those that --out was made of, or choose another --out."
    )


def refuse_other_content(records: Iterable[Record], photos: Mapping[str, Path]) -> None:
    """An OptionError if a photo is not the one that pairs were made of. One that cannot be read now is let pass: its
    pairs were made of what its name stood for then."""
    digests = {record["photo"]: record["photo_sha256"] for record in records}
    changed = [name for name, digest in digests.items() if name in photos and digest_of(photos[name]) != digest]
    if changed := [name for name in changed if os.access(photos[name], os.R_OK)]:
        raise other_photos(f"other content: {some(changed)}")


def digest_of(path: Path) -> str:
    """The sha256 of a file; nothing for one that cannot be read."""
    try:
        return weights.sha256_of(path)
    except OSError:
        return ""


def load(out: Path) -> list[Record]:
    """The records whose two files are there, the last one of each pair."""
    try:
        entries = jsonl.read((out / RECORDS).read_bytes())
    except FileNotFoundError:
        return []
    whole = [entry for entry in entries if all(isinstance(entry.get(name), str) for name in TEXTS)]
    found = {(record["folder"], record["name"]): record for record in whole}
    return [record for key, record in found.items() if all(map(os.path.isfile, paths(out, *key)))]


def append(out: Path, record: Record) -> None:
    """Add a record on a line of its own, whatever the last line was cut off at.

    All processes of a run write here, one after the other, each line in one call at the end of the file. Where a file
    system knows no locks and lets two of them run into each other, the lines are passed over and cost a resumed run two
    pairs.
    """
    with atomic.named(out / RECORDS), (out / RECORDS).open("ab+", buffering=0) as file:
        with contextlib.suppress(OSError):
            locks.lock(file.fileno(), wait=True)
        jsonl.append(file.fileno(), json.dumps(record))


def rewrite(out: Path, records: Iterable[Record]) -> None:
    """All records, in this order."""
    atomic.write(out / RECORDS, "".join(f"{json.dumps(record)}\n" for record in records).encode())
