"""Tampers with an evidence log and its files in many ways, at random places, and counts what `lowlight verify` finds.

    python benchmarks/tamper.py --count 2000 --out benchmarks/results/tamper.json

Makes a log of small pictures with the real command, in a folder of its own. Every tampering starts from the sound
state, which must be found sound. `--seed` draws other places.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from machine import about

from lowlight_cli import picture
from lowlight_cli.errors import LowlightError
from lowlight_cli.evidence import FIRST, head_path, read_head, sha256
from lowlight_cli.tasks.verify import VerifyOptions, verify

PICTURES = 40
Dice = random.Random


def main() -> None:
    """Tamper, check, restore; write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="of all tamperings together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    tried, found, missed = Counter(), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        log, head = logged(Path(folder), args.seed)
        assert not is_found(log, head), "the log is not sound before anything was done to it"
        for number in range(args.count):
            dice = Dice(f"{args.seed} {number}")
            name, tamper = list(TAMPERINGS.items())[number % len(TAMPERINGS)]
            tried[name] += 1
            if tampered_is_found(tamper, log, head, dice):
                found[name] += 1
            else:
                missed.append({"what": name, "number": number})
        assert not is_found(log, head), "the sound state was not restored"
    rows = [{"what": name, "tried": tried[name], "found": found[name]} for name in TAMPERINGS]
    for row in rows:
        print(row)
    document = {"about": about(vars(args) | {"out": None}), "pictures": PICTURES, "rows": rows, "missed": missed}
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def logged(folder: Path, seed: int) -> tuple[Path, str]:
    """A log of two runs over noisy pictures, with baselines, and its head."""
    rng = np.random.default_rng(seed)
    log = folder / "log.jsonl"
    for run in ("first", "second"):
        (folder / run).mkdir()
        for number in range(PICTURES // 2):
            pixels = rng.integers(0, 70, (24, 20 + number, 3)).astype(np.uint8)
            picture.save(picture.from_array(pixels), folder / run / f"{number}.png")
        words = ["enhance", folder / run, "--out", folder / f"{run}-out", "--evidence", log, "--model", "gamma"]
        subprocess.run([sys.executable, "-m", "lowlight_cli", *words, "--baseline", "clahe", "-q"], check=True)
    return log, read_head(log)


def is_found(log: Path, head: str | None) -> bool:
    """Whether `verify` finds anything wrong; what is not a log any more counts too."""
    try:
        return any(checked.status == "failed" for checked in verify(VerifyOptions(log=log, head=head)))
    except LowlightError:
        return True


def tampered_is_found(tamper: Callable[[Path, Dice], object], log: Path, head: str, dice: Dice) -> bool:
    """Do it, check, and put back what was there."""
    with tempfile.TemporaryDirectory(dir=log.parent.parent) as safe:
        shutil.copytree(log.parent, Path(safe) / "kept", copy_function=shutil.copy2)
        try:
            outside = tamper(log, dice)
            return is_found(log, head if outside == "head" else None)
        finally:
            shutil.rmtree(log.parent)
            shutil.move(Path(safe) / "kept", log.parent)


def lines(log: Path) -> list[bytes]:
    """With their ends."""
    return log.read_bytes().splitlines(keepends=True)


def byte_of_file(log: Path, dice: Dice) -> None:
    """Another value in one place of an input or an output."""
    flip(dice.choice(sorted(log.parent.rglob("*.png"))), dice)


def flip(path: Path, dice: Dice) -> None:
    """One bit of one byte."""
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def file_gone(log: Path, dice: Dice) -> None:
    """An input or an output is removed."""
    dice.choice(sorted(log.parent.rglob("*.png"))).unlink()


def files_swapped(log: Path, dice: Dice) -> None:
    """Two of them change names."""
    one, other = dice.sample(sorted(log.parent.rglob("*.png")), 2)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def record_removed(log: Path, dice: Dice) -> None:
    """Any one."""
    new = lines(log)
    del new[dice.randrange(len(new))]
    log.write_bytes(b"".join(new))


def records_swapped(log: Path, dice: Dice) -> None:
    """Any two."""
    new = lines(log)
    one, other = dice.sample(range(len(new)), 2)
    new[one], new[other] = new[other], new[one]
    log.write_bytes(b"".join(new))


def record_doubled(log: Path, dice: Dice) -> None:
    """Any one, put in anywhere."""
    new = lines(log)
    new.insert(dice.randrange(len(new) + 1), dice.choice(new))
    log.write_bytes(b"".join(new))


def log_cut(log: Path, dice: Dice) -> None:
    """At any byte; of the last line more than its end is missing."""
    data = log.read_bytes()
    log.write_bytes(data[: dice.randrange(1, len(data) - 1)])


def run_cut_off(log: Path, dice: Dice) -> None:  # noqa: ARG001
    """The second run, to the last byte, with its outputs."""
    log.write_bytes(b"".join(lines(log)[: PICTURES // 2 + 2]))
    shutil.rmtree(log.parent / "second-out")


def chain_made_anew(log: Path, dice: Dice) -> str:
    """A record changed, and every later line made again; the head beside the log too. The head was noted elsewhere."""
    documents = [json.loads(line) for line in lines(log)]
    dice.choice(documents)["note"] = "nothing happened"
    log.write_bytes(b"")
    digest = appended(log, documents, FIRST)
    head_path(log).write_text(f"{digest}  {len(documents)}\n")
    return "head"


def appended(log: Path, documents: Iterable[Mapping[str, Any]], digest: str) -> str:
    """Write records to the end of a log whose last line has that digest; gives the new head."""
    with log.open("ab") as stream:
        for document in documents:
            line = json.dumps({**document, "previous": digest}, separators=(",", ":")).encode()
            digest = sha256(line)
            stream.write(line + b"\n")
    return digest


def output_laundered(log: Path, dice: Dice) -> None:
    """An output replaced by another picture, and a run appended that tells of it; no line that stands is touched."""
    documents = [json.loads(line) for line in lines(log)]
    told = dice.choice([document for document in documents if document["kind"] == "picture"])
    target = Path(told["output"]["path"])
    flip(target, dice)
    data = target.read_bytes()
    told = {**told, "output": {**told["output"], "sha256": sha256(data), "bytes": len(data)}}
    run = (documents[0], told, {**documents[-1], "counts": {"done": 1}})
    fresh = [{**one, "record": number, "run": "f" * 32} for number, one in enumerate(run, len(documents) + 1)]
    appended(log, fresh, sha256(lines(log)[-1].rstrip(b"\n")))


TAMPERINGS: dict[str, Callable[[Path, Dice], object]] = {
    "one bit of the log": flip,
    "one bit of an input, output or baseline": byte_of_file,
    "a file removed": file_gone,
    "two files exchanged": files_swapped,
    "a record removed": record_removed,
    "two records exchanged": records_swapped,
    "a record doubled": record_doubled,
    "the log cut at any byte": log_cut,
    "a whole run cut off the end": run_cut_off,
    "an output replaced, and a run appended that tells of it": output_laundered,
    "a record changed, and log and head made anew (the head noted elsewhere is given)": chain_made_anew,
}

if __name__ == "__main__":
    main()
