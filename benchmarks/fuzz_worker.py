"""The process that runs one target on one input after the other; `fuzz.py` starts it and watches it.

What is being tried stands in the file `state` before it is tried, so that a crash or a hang is known by its bytes.
Findings are lines of `findings.jsonl`, their bytes files in `findings/`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import mmap
import os
import random
import re
import resource
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_mutate
from fuzz_targets import TARGETS, Starved, Target, Wrong, emptied

LARGEST = 256 << 10
"""Bytes of an input."""
HEAD = struct.Struct("<QdI")
"""Of the state: inputs tried, when the one being tried was begun (0: none is), its length."""
FENCE = 2 << 30
"""Bytes of address space that the process may take beyond its imports: what asks for more gets none."""
WRITES: dict[str, tuple[tuple[int, int | None], ...]] = {
    **dict.fromkeys(("os.remove", "os.rmdir"), ((0, 1),)),
    **dict.fromkeys(("os.mkdir", "os.chmod"), ((0, 2),)),
    **dict.fromkeys(("os.symlink", "os.link"), ((1, -1),)),
    "os.rename": ((0, 2), (1, 3)),
    "os.truncate": ((0, None),),
}
"""Events that change the disk: which arguments are paths, and which the open folders that these are relative to."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FOREIGN = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "socket.getaddrinfo",
}


class State:
    """The file that tells the watcher what is going on."""

    def __init__(self, path: Path) -> None:
        if not path.exists() or path.stat().st_size < HEAD.size + LARGEST:
            path.write_bytes(bytes(HEAD.size + LARGEST))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def begin(self, data: bytes) -> None:
        """This is tried now."""
        self.map[HEAD.size : HEAD.size + len(data)] = data
        count = HEAD.unpack_from(self.map)[0]
        HEAD.pack_into(self.map, 0, count + 1, time.monotonic(), len(data))

    def end(self) -> None:
        """It is over."""
        struct.pack_into("<d", self.map, 8, 0.0)

    def read(self) -> tuple[int, float, bytes]:
        """Inputs tried, when the present one was begun, its bytes."""
        count, begun, length = HEAD.unpack_from(self.map)
        return count, begun, bytes(self.map[HEAD.size : HEAD.size + length])


class Findings:
    """What was found, once each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "findings").mkdir(parents=True, exist_ok=True)
        self.known = {entry["what"] for entry in self.entries()}

    def entries(self) -> list[dict[str, Any]]:
        """All so far."""
        path = self.folder / "findings.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def add(self, kind: str, what: str, data: bytes, told: str = "") -> None:
        """Keep one unless its like is known: numbers do not make a difference."""
        what = f"{kind}: {re.sub(r'[0-9]+', 'N', what)[:300]}"
        if what in self.known:
            return
        self.known.add(what)
        name = hashlib.sha256(data).hexdigest()[:16]
        (self.folder / "findings" / name).write_bytes(data)
        entry = {"kind": kind, "what": what, "file": name, "bytes": len(data), "told": told[-4000:]}
        with (self.folder / "findings.jsonl").open("a") as out:
            out.write(json.dumps(entry) + "\n")


class Trial:
    """Runs a target on an input, and judges what happens."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target, self.state, self.findings = target, State(folder / "state"), Findings(folder)
        self.sandbox = folder / "sandbox"
        self.sandbox.mkdir(exist_ok=True)
        self.active, self.escapes = False, list[str]()
        self.largest: dict[str, int] = {"bytes": 0, "of": 0}
        self.refresh = Path("/proc/self/clear_refs").open("w")  # noqa: SIM115 - kept open
        self.status = Path("/proc/self/status").open()  # noqa: SIM115
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note writes outside the sandbox, and whatever no reader does."""
        if not self.active:
            return
        if event == "open":
            path, _, flags = arguments
            nameless = isinstance(flags, int) and flags & os.O_TMPFILE == os.O_TMPFILE
            if isinstance(flags, int) and flags & WRITING and isinstance(path, str | bytes) and not nameless:
                self.note(event, path)
        elif event in WRITES:
            for path, folder in WRITES[event]:
                self.note(event, arguments[path], arguments[folder] if folder is not None else -1)
        elif event in FOREIGN:
            self.escapes.append(f"{event} {arguments!r}"[:300])

    def note(self, event: str, path: Any, folder: int = -1) -> None:
        """Add a path, relative to an open folder if that is given, that does not lie in the sandbox."""
        base = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""  # noqa: PTH115 - called for every file
        path = os.path.join(base, os.fsdecode(path))  # noqa: PTH118
        parent = os.path.realpath(os.path.dirname(path) or ".")  # noqa: PTH120
        inside = (parent + "/").startswith(f"{self.sandbox}/") or os.path.realpath(path) == str(self.sandbox)
        if not inside and path != "/dev/null":
            self.escapes.append(f"{event} {path}"[:300])

    def __call__(self, data: bytes) -> None:
        """Try one input."""
        data = bytes(data[:LARGEST])
        self.state.begin(data)
        before = self.resident("VmRSS")
        self.refresh.write("5")  # the peak begins anew
        self.refresh.flush()
        try:
            self.active = True
            self.run(data)
        finally:
            self.active = False
            self.state.end()
            emptied(self.sandbox)
        self.judge(data, self.resident("VmHWM") - before)

    def warm(self, inputs: list[bytes]) -> None:
        """Run honest inputs, so that what is imported and cached on first use counts for none."""
        from lowlight_cli.errors import LowlightError

        for data in inputs:
            with contextlib.suppress(LowlightError, Starved, Wrong):
                self.target.run(data, self.sandbox)
            emptied(self.sandbox)

    def run(self, data: bytes) -> None:
        """The target, with what it must not raise as findings."""
        from lowlight_cli.errors import LowlightError

        try:
            self.target.run(data, self.sandbox)
        except LowlightError:
            pass
        except Wrong as error:
            self.report("wrong", error, data)
        except (Starved, MemoryError) as error:
            self.report("memory", error, data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            self.report("exception", error, data)

    def report(self, kind: str, error: BaseException, data: bytes) -> None:
        """An exception with the last place of ours that it came through."""
        self.active = False
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "lowlight_cli" in f.filename]
        place = f"{Path(frames[-1].filename).name} {frames[-1].name}" if frames else ""
        text = str(error)[:80] if kind != "exception" else ""
        self.findings.add(kind, f"{type(error).__name__} {place} {text}".strip(), data, traceback.format_exc())

    def judge(self, data: bytes, grown: int) -> None:
        """Memory and writes."""
        if grown > self.largest["bytes"]:
            self.largest = {"bytes": grown, "of": len(data)}
        if grown > self.target.allowed(len(data)):
            kind = data[:4].hex()
            self.findings.add("memory", f"{kind} more than allowed", data, f"{grown} bytes for {len(data)}")
        for escape in self.escapes:
            self.findings.add("write", escape, data, escape)
        self.escapes.clear()

    def resident(self, name: str) -> int:
        """Bytes of this process that are in memory: now (VmRSS), or at most (VmHWM)."""
        self.status.seek(0)
        return int(re.search(rf"{name}:\s+(\d+)", self.status.read())[1]) << 10


def fenced() -> None:
    """No more address space than imports took and a bit."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (used + FENCE, used + FENCE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def imported(target: Target, engine: str) -> None:
    """Load everything that the target needs, so that imports count for no input."""
    guard: Any = contextlib.nullcontext()
    if engine == "atheris":
        import atheris

        guard = atheris.instrument_imports(include=[*target.instrument])
    with guard:
        for name in target.imports:
            importlib.import_module(name)


def inputs(corpus: Path, seed: int) -> Iterator[bytes]:
    """Without coverage: seeds as they are, then mutations of them without end."""
    files = [path.read_bytes() for path in sorted(corpus.iterdir())]
    yield from files
    rng = random.Random(seed)
    while True:
        yield fuzz_mutate.mutate(rng.choice(files), LARGEST, rng.getrandbits(32))


def guided(trial: Trial, corpus: Path, seconds: int, seed: int) -> None:
    """With coverage: what reaches new lines is kept in the corpus and mutated further. Does not return."""
    import atheris

    flags = [f"-max_len={LARGEST}", "-len_control=0", f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=600"]
    flags += ["-rss_limit_mb=0", "-verbosity=0", "-detect_leaks=0", "-print_final_stats=0", "-handle_segv=0"]
    flags += ["-handle_abrt=0", "-handle_bus=0", "-handle_fpe=0", "-reload=0"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], trial, custom_mutator=fuzz_mutate.mutate)
    atheris.Fuzz()


def main() -> None:
    """Fuzz until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--engine", choices=("atheris", "plain"), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--only", type=Path, help="try this one file")
    args = parser.parse_args()
    target, folder = TARGETS[args.target], args.corpus.resolve()
    imported(target, args.engine)
    from fuzz_seeds import SEEDS  # imports lowlight and Pillow, whose coverage counts only if `imported` came first

    trial = Trial(target, folder)
    trial.warm([*SEEDS[args.target]().values()])
    fenced()
    try:
        if args.only:
            begun = time.process_time()
            trial(args.only.read_bytes())
            print("took", time.process_time() - begun)
        elif args.engine == "atheris":
            guided(trial, folder / "inputs", args.seconds, args.seed)
        else:
            end = time.monotonic() + args.seconds
            for data in inputs(folder / "inputs", args.seed):
                trial(data)
                if time.monotonic() > end:
                    break
    finally:
        print("largest", json.dumps(trial.largest))


if __name__ == "__main__":
    main()
