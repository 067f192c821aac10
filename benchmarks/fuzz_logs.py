"""Readers of what runs leave behind: records, logs, caches. The first line of an input says whose file it is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path


def read_log(data: bytes, folder: Path) -> None:
    """The file of a run that the first line names."""
    head, _, body = data.partition(b"\n")
    if reader := READERS.get(head.decode("latin-1").removeprefix("#")):
        with contextlib.suppress(FileNotFoundError):
            reader(body, folder)


def _synth(body: bytes, folder: Path) -> None:
    from lowlight_cli.tasks import synth_records

    (folder / "all" / "low").mkdir(parents=True, exist_ok=True)
    (folder / "all" / "high").mkdir(parents=True, exist_ok=True)
    for side in ("low", "high"):
        (folder / "all" / side / "a.png").write_bytes(b"x")
    (folder / synth_records.RECORDS).write_bytes(body)
    found = synth_records.load(folder)
    synth_records.refuse_other_content(found, {"a.jpg": folder / synth_records.RECORDS})
    synth_records.rewrite(folder, found)


def _synth_settings(body: bytes, folder: Path) -> None:
    from lowlight_cli.tasks import synth_records

    (folder / synth_records.SETTINGS).write_bytes(body)
    synth_records.prepare(folder, {"photos": ["a.jpg"], "preset": "camera", "seed": 1, "copies": 1}, resume=True)


def _run(body: bytes, folder: Path) -> None:
    from lowlight_cli.tasks import train_record

    (folder / train_record.RECORD).write_bytes(body)
    (folder / train_record.CONFIG).write_bytes(b"model: neid\nseed: 1\nbest: psnr\n")
    train_record.refuse_other_data(folder, {"kind": "x"})
    train_record.training(folder)


def _journal(body: bytes, folder: Path) -> None:
    from lowlight_cli.tasks import train_record
    from lowlight_cli.training import journal

    (folder / journal.LOG).write_bytes(body)
    (folder / train_record.CONFIG).write_bytes(b"model: neid\nseed: 1\nbest: psnr\n")
    [row for row in journal.rows(folder / journal.LOG) if int(row[0]) <= 1]
    train_record.training(folder)


def _rows(body: bytes, folder: Path) -> None:
    from lowlight_cli.tasks import benchmark_rows

    (folder / benchmark_rows.ROWS).write_bytes(body)
    kept = benchmark_rows.KeptRows(folder, resume=True)
    for key in [*kept.entries]:
        kept.find(key, "neid", "a", {"psnr": "d"})


def _cache(body: bytes, folder: Path) -> None:
    from lowlight_cli.data import cache

    entry = cache.Entry(title="t", label="l", place=[], facts=[])
    (folder / cache.INDEX).write_bytes(body.replace(b'"k"', json.dumps(entry.key).encode()))
    (folder / cache.PIXELS).write_bytes(b"abc")
    if found := cache._opened(folder, entry):
        [found[number].shape for number in range(len(found))]


def _scenes(body: bytes, folder: Path) -> None:
    from lowlight_cli.data import scenes

    (folder / "scenes.json").write_bytes(body)
    scenes.grouped(["2", "5", "6"], scenes.read_scenes(folder / "scenes.json"))


def _names(body: bytes, folder: Path) -> None:
    from lowlight_cli.data import scenes

    (folder / "names").write_bytes(body)
    scenes.refuse_unknown(scenes.read_names(folder / "names"), ["a", "b"], folder)


def _exported(body: bytes, _: Path) -> None:
    from lowlight_cli import manifest, weights

    spec = manifest.find("neid")
    place = weights._export_folder(spec)
    place.mkdir(parents=True, exist_ok=True)
    (place / weights.SIDECAR).write_bytes(body)
    (place / "x9.onnx").write_bytes(b"x")
    weights._ready_export(spec, "onnx-x9")


def _evidence(body: bytes, folder: Path) -> None:
    from lowlight_cli import evidence
    from lowlight_cli.tasks import report, verify

    path = folder / "log.jsonl"
    path.write_bytes(body)
    for line in evidence.read(path):
        json.dumps(line.record)
    for checked in verify.verify(verify.VerifyOptions(log=path)):
        json.dumps(dataclasses.asdict(checked))
    report.run(report.ReportOptions(log=path, out=folder / "report.html"))


READERS: Mapping[str, Callable[[bytes, Path], None]] = {
    "synth": _synth,
    "settings": _synth_settings,
    "run": _run,
    "journal": _journal,
    "rows": _rows,
    "cache": _cache,
    "scenes": _scenes,
    "names": _names,
    "exported": _exported,
    "evidence": _evidence,
}
