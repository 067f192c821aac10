"""Make pictures of an evidence log again, and compare them with what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from lowlight_cli import machine, manifest, picture
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import DeviceUnavailable
from lowlight_cli.evidence_chain import Line, Record
from lowlight_cli.picture import Picture
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.settings import Settings
from lowlight_cli.tasks import records
from lowlight_cli.tasks.preset import baseline
from lowlight_cli.tasks.results import brief

SLIGHT = 0.001
"""Exposures, and liftings of shadows, that differ by so little are the same: rounding of another machine."""


class Rerun:
    """Models opened as the log tells, one after the other. A context manager: at the end none is open."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.key: tuple[Record, Record] | None = None
        self.enhancer: Enhancer | None = None
        self.unlike = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the model that is open, if one is."""
        enhancer, self.enhancer, self.key = self.enhancer, None, None
        if enhancer is not None:
            enhancer.close()

    def judge(self, line: Line, files: Mapping[str, Path]) -> float | None:
        """Make the outputs of a record again from its input, and add to the line what differs; the largest
        difference, in levels of 255, or None where there is nothing to compare with."""
        record, given = line.record, line.record["input"]
        if given["path"] not in files:
            return None
        data = picture.read(files[given["path"]])
        source = picture.load(data, max_pixels=record["method"]["settings"]["max_pixels"])
        if records.pixels_sha256(source) != given["pixels_sha256"]:
            line.problems.append("the input's bytes are those of the log, but other pixels come out of them here.")
            return None
        self.open(record["method"], record["system"])
        found = [self.compared(line, record["output"], self.enhancer.enhance([source])[0], files)]
        if records.tiles(self.enhancer) != record["tiles"]:
            line.notes.append("it was cut into other tiles this time.")
        for what, value in (("exposure", self.enhancer.aimed[0]), ("shadows", self.enhancer.lifted[0])):
            told, again = record.get(what), brief(value)  # older logs know neither
            if told is not None and (again is None or abs(told - again) > SLIGHT):
                line.problems.append(f"{what}: {told:g} as the record says, and {again} this time.")
        if other := record["baseline"]:
            with baseline(other["model"], self.enhancer.settings.depth) as classical:
                found.append(self.compared(line, other, classical.enhance([source])[0], files))
        return max((value for value in found if value is not None), default=None)

    def compared(self, line: Line, facts: Record, result: Picture, files: Mapping[str, Path]) -> float | None:
        """One output."""
        most = result.width * result.height
        again = picture.load(picture.encode(result, facts["format"]), max_pixels=most)
        if facts["path"] not in files:
            if records.pixels_sha256(again) != facts["pixels_sha256"]:
                line.problems.append(f"{facts['path']}: other pixels come out now.")
            return None
        there = picture.load(files[facts["path"]], max_pixels=most)
        held = records.picture_facts(there)
        if any(facts[name] != found for name, found in held.items()):
            line.problems.append(f"{facts['path']}: its file does not hold the picture that its record tells of.")
        if records.pixels_sha256(again) == held["pixels_sha256"]:
            return 0.0
        value = largest(again, there)
        text = f"{facts['path']}: made again it differs by up to {value:.2f} levels of 255"
        if self.unlike and value <= self.tolerance:
            line.notes.append(f"{text}; the log was made with {self.unlike}.")
        else:
            line.problems.append(f"{text}{f', and the log was made with {self.unlike}' if self.unlike else ''}.")
        return value

    def open(self, method: Record, system: Record) -> None:
        """The model as the log tells, unless it is the one that is open."""
        if (method, system) == self.key:
            return
        chosen = method["settings"]
        options = RunnerOptions(
            backend="auto" if method["backend"] == "classical" else method["backend"],
            precision=method["precision"],
            scale=chosen["scale"],
            weights=own_weights(method),
            threads=method["threads"],
            device=method["device"],
            offline=True,
            deterministic=True,
        )
        spec = manifest.find(method["model"])
        self.close()
        try:
            runner = open_runner(spec, options)
        except DeviceUnavailable:
            runner = open_runner(spec, dataclasses.replace(options, device="cpu"))
        given = records.explicit(method["model"], chosen)
        settings = Settings(**{name: given[name] for name in records.SETTINGS})
        self.key, self.enhancer = (method, system), Enhancer(runner, settings, chosen["scale"])
        self.unlike = unlike(method, system, self.enhancer)


def own_weights(method: Record) -> Path | None:
    """A user's own weights: those of rows are told by their names, which are no absolute paths."""
    paths = [Path(file["path"]) for file in method["weights"] if file["role"] == "torch"]
    return next((path for path in paths if path.is_absolute()), None)


def unlike(method: Record, system: Record, enhancer: Enhancer) -> str:
    """In what this machine and installation are not those of a record, in words; empty: in nothing that counts."""
    here, facts = machine.system(), ("lowlight", "python", "machine", "cpu")
    parts = [f"{name} {system[name]}" for name in facts if system[name] != here[name]]
    before, now = system["packages"], here["packages"]
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    parts += [f"{name} {before.get(name, 'none')}" for name in names]
    weights = [records.weight_facts(file) for file in enhancer.runner.weights]
    parts += ["other weights"] if weights != method["weights"] else []
    ran = {name: getattr(enhancer.runner, name) for name in ("backend", "provider", "device", "precision")}
    return ", ".join([*parts, *(f"{name} {method[name]}" for name, value in ran.items() if value != method[name])])


def largest(one: Picture, other: Picture) -> float:
    """Largest difference of a sample, in levels of 255; pictures of other sizes differ by all 255, and so do those of
    which one alone has alpha."""
    if one.pixels.shape != other.pixels.shape or (one.alpha is None) != (other.alpha is None):
        return 255.0
    pairs = [(one.pixels, other.pixels)] + ([(one.alpha, other.alpha)] if one.alpha is not None else [])
    gaps = (np.abs(picture.to_float(first) - picture.to_float(second)).max() for first, second in pairs)
    return float(max(gaps) * 255)
