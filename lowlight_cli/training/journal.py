"""The log of a run: rows of a CSV file, and TensorBoard's scalars and pictures."""

from __future__ import annotations

import csv
import math
import re
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from accelerate.tracking import TensorBoardTracker
from numpy.typing import NDArray

from lowlight_cli import atomic, picture

LOG, BOARD, SAMPLES = "log.csv", "tensorboard", "samples"
HEADER = ("step", "seconds", "name", "value")
NUMBER = r"[0-9]{1,18}(\.[0-9]{1,18})?"
LINE = re.compile(rf"[0-9]{{1,18}},{NUMBER},[^,]+,(nan|-?inf|-?{NUMBER}(e[-+]?[0-9]{{1,3}})?)")
"""A row of numbers as `Journal.scalars` writes it; disks and people leave others."""


class Journal:
    """Writes to a run's folder. What was logged after the step of the last checkpoint is dropped. Where a run begins
    (step 0), the log that another has left there is put aside."""

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        self.folder, self.log = folder, folder / LOG
        (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
        if not step and [*rows(self.log)]:
            atomic.put_aside(self.log)
        kept = [HEADER, *(row for row in rows(self.log) if int(row[0]) <= step)]
        atomic.write(self.log, "".join(f"{','.join(row)}\n" for row in kept).encode())
        threading.excepthook = but_writers
        self.board = TensorBoardTracker(BOARD, folder, purge_step=step + 1 if step else 0)
        self.board.start()

    def scalars(self, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Append to the log, one row a value, and to TensorBoard."""
        with self.log.open("a", newline="", encoding="utf-8") as file:
            lines = ((step, f"{seconds:.1f}", name, f"{value:.6g}") for name, value in values.items())
            csv.writer(file, lineterminator="\n").writerows(lines)
        self.board.log({name: value for name, value in values.items() if math.isfinite(value)}, step=step)

    def pictures(self, step: int, strips: Mapping[str, NDArray[np.uint8]]) -> None:
        """Keep strips (H, W, 3) as files and in TensorBoard."""
        for name, strip in strips.items():
            path = self.folder / SAMPLES / f"{step:07d}-{name.replace('/', '_')}.png"
            picture.save(picture.from_array(strip), path)
            self.board.log_images({name: strip[None]}, step=step, dataformats="NHWC")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.finish()


def but_writers(found: threading.ExceptHookArgs) -> None:
    """Show what a thread raises, but for TensorBoard's, which raises it again where it is asked to write or to end."""
    if type(found.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(found)


def rows(log: Path) -> list[tuple[str, ...]]:
    """The whole rows of a log; a last one that a killed run left half-written is left out."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\0", "").splitlines()
    found = (tuple(row) for row in csv.reader(lines))
    return [row for row in found if len(row) == len(HEADER) and LINE.fullmatch(",".join(row))]
