"""What the templates of an evidence report show: runs, methods, machines and pictures, from records and checks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lowlight_cli.evidence_chain import Line, Record
from lowlight_cli.report import evidence_words as words
from lowlight_cli.report.embed import Image
from lowlight_cli.report.evidence_log import ReadLog, items, number, table, text, texts, whole
from lowlight_cli.report.evidence_pictures import Gallery, Recorded, Tones
from lowlight_cli.report.evidence_words import Told
from lowlight_cli.report.figures import count

INPUT, OUTPUT, BASELINE = SOURCES = ("input", "output", "baseline")
Place = Callable[[str], Path]
"""From the path of a file in the log to where it lies now."""
DRAWN_WIDTH, DRAWN_HEIGHT = 256, 72
"""Of a histogram, in units of the drawing."""


@dataclass(frozen=True)
class Frame:
    """One picture as it is shown, or why it is not."""

    source: str
    label: str
    size: str
    image: Image | None
    why_not: str


@dataclass(frozen=True)
class Curve:
    """The spread of luma of one picture."""

    source: str
    label: str
    path: str
    tones: Tones


@dataclass(frozen=True)
class FileFacts:
    """One file of a record: its facts as (name, value, whether the value is a digest or a path)."""

    role: str
    rows: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Card:
    """One record of a picture."""

    index: int
    name: str
    record: int
    digest: str
    done: bool
    later: int | None
    """The record with which a picture that had failed was done after all."""
    method: int | None
    facts: tuple[Told, ...]
    files: tuple[FileFacts, ...]
    notices: tuple[str, ...]
    error: str
    hint: str
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    frames: tuple[Frame, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether there is anything to see."""
        return any(frame.image for frame in self.frames)


@dataclass
class Numbered:
    """Distinct mappings in the order in which they came."""

    found: dict[str, Record] = field(default_factory=dict)

    def place(self, told: Record) -> int | None:
        """From 0; None for an empty mapping."""
        if not told:
            return None
        key = json.dumps(told, sort_keys=True, default=str)
        self.found.setdefault(key, told)
        return [*self.found].index(key)


def moment(told: str) -> str:
    """A time as people read it; what is no time stays as it is."""
    try:
        return datetime.fromisoformat(told).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):
        return told


def is_done(line: Line) -> bool:
    """Whether the record is of a picture that was enhanced."""
    return text(line.record, "status") == "done"


def input_path(line: Line) -> str:
    """What makes two records tries of one picture."""
    return text(line.record, "input", "path")


def recorded(line: Line, place: Place) -> dict[str, Recorded]:
    """The files of a picture that may be shown, where they lie now; nothing of one that failed."""
    if not is_done(line):
        return {}
    files = {source: (text(line.record, source, "path"), text(line.record, source, "sha256")) for source in SOURCES}
    return {source: Recorded(place(path), digest) for source, (path, digest) in files.items() if path and digest}


def name_of(record: Record) -> str:
    """What a picture is called: its path below the input folder."""
    path = text(record, "input", "path")
    return text(record, "input", "relative") or Path(path).name or path or "a picture without a name"


def frames(record: Record, files: Iterable[str], index: str, gallery: Gallery) -> tuple[Frame, ...]:
    """The input, the output and the baseline of a picture that was done; `files` are those that are recorded."""
    images = gallery.images.get(index, {})
    found = []
    for source in files:
        image = images.get(source)
        why_not = gallery.problems.get((index, source), "")
        if not image and not why_not:
            why_not = "Left out, so that this report stays small."
        found.append(Frame(source, label(record, source), size(table(record, source)), image, why_not))
    return tuple(found)


def label(record: Record, source: str) -> str:
    """The name of a frame."""
    if source == INPUT:
        return "Original"
    model = text(record, "method", "model") if source == OUTPUT else text(record, "baseline", "model")
    return f"{'Enhanced' if source == OUTPUT else 'Baseline'} ({model})" if model else source.capitalize()


def size(told: Record) -> str:
    """Width, height and bits."""
    width, height, bits = (whole(told, name) for name in ("width", "height", "bits"))
    parts = [f"{width} × {height}" if width and height else "", f"{bits} bit" if bits else "", text(told, "format")]
    return ", ".join(part for part in parts if part)


def curves(files: Mapping[str, Recorded], shown: Sequence[Frame], gallery: Gallery) -> tuple[Curve, ...]:
    """Histograms of what is shown of original and output, on one scale."""
    drawn = [frame for frame in shown if frame.image and frame.source != BASELINE]
    spread = {frame.source: gallery.tones[files[frame.source].path] for frame in drawn}
    top = max((max(tones.shares) for tones in spread.values()), default=1.0)
    return tuple(
        Curve(frame.source, frame.label, outline(spread[frame.source], top), spread[frame.source]) for frame in drawn
    )


def outline(tones: Tones, top: float) -> str:
    """The path of a histogram; heights are square roots, so that small shares are seen."""
    step = DRAWN_WIDTH / len(tones.shares)
    heights = [DRAWN_HEIGHT * (1 - (share / top) ** 0.5) for share in tones.shares]
    steps = (f"V{height:.1f}H{step * (place + 1):g}" for place, height in enumerate(heights))
    return f"M0,{DRAWN_HEIGHT}{''.join(steps)}V{DRAWN_HEIGHT}Z"


def file_list(record: Record) -> tuple[FileFacts, ...]:
    """All files of a record with what is known of them."""
    found = [file_facts(label(record, source), table(record, source)) for source in SOURCES if table(record, source)]
    found += [file_facts("Map", told) for told in items(record, "maps") if isinstance(told, Mapping)]
    return tuple(found)


def file_facts(role: str, told: Record) -> FileFacts:
    """One file; the digest after the work is compared with the one before."""
    before, after = text(told, "sha256"), text(told, "sha256_after")
    length, parameters = whole(told, "bytes"), words.listed(table(told, "params"))
    sizes = (f"{count(length)} bytes" if length is not None else "", size(told))
    rows = [
        ("Path", text(told, "path"), True),
        ("Size", ", ".join(filter(None, sizes)), False),
        ("Modified", moment(text(told, "modified")), False),
        ("Parameters", parameters, False),
        ("SHA-256 of the file", before, True),
        ("… after the work", "the same" if after and after == before else after, after != before),
        ("SHA-256 of the pixels", text(told, "pixels_sha256"), True),
    ]
    return FileFacts(role, tuple(row for row in rows if row[1]))


def done_later(lines: Sequence[Line]) -> Callable[[Line], int | None]:
    """Finds the record with which an input that had failed was done."""
    last = {input_path(line): line.number for line in lines if is_done(line) and input_path(line)}

    def find(line: Line) -> int | None:
        record = last.get(input_path(line), 0)
        return record if record > line.number and not is_done(line) else None

    return find


def run_rows(log: ReadLog) -> list[dict[str, str]]:
    """The runs in the order in which they began."""
    rows: dict[str, list[Line]] = {}
    for line in log.lines:
        rows.setdefault(text(line.record, "run"), []).append(line)
    return [run_row(name, lines) for name, lines in rows.items()]


def run_row(name: str, lines: Sequence[Line]) -> dict[str, str]:
    """One run."""
    first = {line.record["kind"]: line.record for line in reversed(lines)}
    start, end = first.get("start"), first.get("end")
    pictures = [text(line.record, "status") for line in lines if line.record["kind"] == "picture"]
    counted = [f"{pictures.count('done')} done", f"{pictures.count('failed')} failed"]
    planned, before = whole(start, "pictures"), whole(start, "already_done")
    return {
        "run": name,
        "began": moment(text(lines[0].record, "time")),
        "ended": moment(text(lines[-1].record, "time")),
        "state": text(end, "status") or "no end recorded: it was cut off, or had not ended",
        "pictures": ", ".join(counted)
        + (f", of {planned} planned" if planned is not None else "")
        + (f", {before} done before" if before else ""),
        "not_taken": left_out(start),
        "command": shlex.join(texts(start, "argv")),
        "host": text(start, "system", "host"),
    }


def left_out(start: Record | None) -> str:
    """Which files in the inputs the run left out; older logs do not tell."""
    files, count = texts(start, "not_taken", "files"), whole(start, "not_taken", "count")
    more = f" and {count - len(files)} more" if count is not None and count > len(files) else ""
    return ", ".join(files) + more


def distinct(log: ReadLog, name: str) -> list[str]:
    """The values of a field of all records, each once."""
    return [*dict.fromkeys(told for line in log.lines if (told := text(line.record, name)))]


def examiners(log: ReadLog) -> list[str]:
    """Who signed which runs, each once; and how many nobody signed, where somebody signed others."""
    runs: dict[str, str] = {}
    for line in log.lines:
        run = text(line.record, "run")
        runs[run] = runs.get(run) or text(line.record, "examiner")
    named, unsigned = [*dict.fromkeys(filter(None, runs.values()))], [*runs.values()].count("")
    return [*named, f"none given for {unsigned} of {len(runs)} runs"] if named and unsigned else named


def seconds(record: Record) -> str:
    """How long the work took."""
    told = number(record, "seconds")
    return f"{told:.2f} s" if told is not None else ""


def originals_unchanged(lines: Sequence[Line]) -> tuple[int, int]:
    """Of how many pictures the original had one digest before and after the work, and of how many both are known."""
    same: dict[str, bool] = {}
    for line in lines:
        before, after = (text(line.record, "input", name) for name in ("sha256", "sha256_after"))
        if before and after:
            same[input_path(line)] = same.get(input_path(line), True) and before == after
    return sum(same.values()), len(same)
