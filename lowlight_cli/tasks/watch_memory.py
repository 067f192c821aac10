"""What a watch has done, in a hidden file in the output folder, so that a restart neither repeats nor tells it again.

One JSON line for each picture, appended when its result is there: a watch that is killed between the output and the
line finds the output, and takes it as done. Deleting the file makes a watch judge by the outputs alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lowlight_cli import atomic, jsonl, locks
from lowlight_cli.errors import OptionError, reason_of
from lowlight_cli.tasks.watch_folders import parts, stamp

SPARE = 1000
"""Lines of no use that are left in the file."""
ELSEWHERE = -1
"""The stamp of what another part of --shard does; it is not written."""
MOST_GONE = 20_000
"""Inputs that were taken away and are still remembered; a day has 17,280 times five seconds."""
TAKEN_AWAY = stamp(0, 0)
"""The stamp of a file that was done and is there no more, where another one has its name."""


def file_for(out: Path, watched: Any) -> Path:
    """Where to keep it: in the output folder, which several watches may share."""
    return out / f"{atomic.PREFIX}watch-{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:8]}.jsonl"


class Memory:
    """Stamps of inputs by their relative path. One process at a time holds the file."""

    def __init__(
        self, path: Path, settings: Mapping[str, Any], output_of: Callable[[str], str] = lambda relative: relative
    ) -> None:
        """`settings` are those on which it depends what can be read: with others, failures are tried again.
        `output_of`: what makes the outputs of two inputs one file."""
        self.output_of = output_of
        self.gone: dict[int, int] = {}
        """Hashes of outputs whose inputs were done and taken away, and of these with their stamps."""
        self.path, self.settings = path, {"lowlight_watch": 1, **settings}
        self.known: dict[str, int] = {}
        """Inputs of which nothing is left to do, unless they change."""
        self.failed: dict[str, str] = {}
        """Those of them that cannot be read, and why."""
        self.told: dict[str, tuple[int, str]] = {}
        """Stamps and errors of inputs that are still tried, and were told to have failed."""
        self.lines = 0
        self.descriptor = self.open()
        try:
            self.load()
        except BaseException:
            self.close()
            raise

    def open(self) -> int:
        """The file, open to append to it, and locked."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise OptionError(f"{self.path} cannot be written: {reason_of(error)}.", "Choose another --out.") from error
        if not locks.claim(descriptor):
            os.close(descriptor)
            remedy = "Stop that one first, or choose another --out."
            raise OptionError(f"Another lowlight watches these folders into {self.path.parent}.", remedy)
        return descriptor

    @property
    def here(self) -> bool:
        """Whether the output folder is there, and is the one in which the watch began: not what lies below a share
        that is gone."""
        return os.path.exists(self.path)  # noqa: PTH110 - False, too, for a share that is lost

    def check(self) -> None:
        """An OSError where the file is gone: it is not made anew below a share that went away."""
        self.path.stat()

    def load(self) -> None:
        """Read all lines; what a power cut has torn is passed over."""
        data, header = self.path.read_bytes(), None
        self.lines = data.count(b"\n")
        for entry in jsonl.read(data):
            header = entry if "lowlight_watch" in entry else header
            if isinstance(entry.get("file"), str):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self.take(entry["file"], stamp(entry["size"], entry["mtime_ns"]), entry)
        if header != self.settings:
            for relative in self.failed:
                self.known.pop(relative, None)
            self.failed.clear()
            self.append(self.settings)

    def take(self, relative: str, number: int, entry: Mapping[str, Any]) -> None:
        """What a line says."""
        self.failed.pop(relative, None)
        self.told.pop(relative, None)
        error = entry.get("error")
        if error is not None and not entry.get("final"):
            self.told[relative] = (number, error)
            return
        self.known[relative] = number
        if error is not None:
            self.failed[relative] = error

    def recall(self, relative: str, number: int) -> int | None:
        """The stamp of an input that was done and taken away: that of the file which is there now, if it is the same
        one, else `TAKEN_AWAY`; None: none was. From now on it is known again."""
        was = self.gone.get(hash(self.output_of(relative)))
        if was is None:
            return None
        known = number if was == hash((relative, number)) else TAKEN_AWAY
        self.add(relative, known)
        return known

    def add(self, relative: str, number: int, error: str | None = None, *, final: bool = True) -> None:
        """A picture is done, or cannot be read (`final`), or has failed for now."""
        entry = written(relative, number, error, final=final)
        self.take(relative, number, entry)
        self.append(entry)

    def append(self, entry: Mapping[str, Any]) -> None:
        """A line more. What cannot be written is known until the end of this process: the outputs are what counts."""
        with contextlib.suppress(OSError):
            jsonl.append(self.descriptor, json.dumps(entry, separators=(",", ":")))
        self.lines += 1

    def forget(self, present: Collection[str]) -> None:
        """Keep only what is said of `present` inputs."""
        for relative, number in self.known.items():
            if relative not in present and relative not in self.failed and number != ELSEWHERE:
                output = hash(self.output_of(relative))
                self.gone.pop(output, None)  # the last ones are kept: it goes to the end
                self.gone[output] = hash((relative, number))
        while len(self.gone) > MOST_GONE:
            del self.gone[next(iter(self.gone))]
        for table in (self.known, self.failed, self.told):
            for relative in [relative for relative in table if relative not in present]:
                del table[relative]
        if self.lines > 2 * (len(self.known) + len(self.told)) + SPARE:
            self.rewrite()

    def rewrite(self) -> None:
        """Leave out of the file what is known no more."""
        entries = [self.settings]
        entries += [
            written(name, number, self.failed.get(name)) for name, number in self.known.items() if number != ELSEWHERE
        ]
        entries += [written(name, *told, final=False) for name, told in self.told.items()]
        text = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries)
        try:
            atomic.write(self.path, text.encode(), check=self.check)
            descriptor = self.open()
        except (OSError, OptionError):
            return  # no space: the long one stays; or somebody has the new one: this process goes on without
        os.close(self.descriptor)
        self.descriptor, self.lines = descriptor, len(entries)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)


def written(relative: str, number: int, error: str | None = None, *, final: bool = True) -> dict[str, Any]:
    """An entry as it stands in the file."""
    size, mtime_ns = parts(number)
    told = {} if error is None else {"error": error, "final": final}
    return {"file": relative, "size": size, "mtime_ns": mtime_ns} | told
