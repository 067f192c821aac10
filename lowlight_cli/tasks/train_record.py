"""What a run's folder says of the run: its settings, and with what it was made."""

from __future__ import annotations

import difflib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator

from lowlight_cli import __version__, atomic, packages, regular, weights_metadata
from lowlight_cli.errors import NoInput, OptionError
from lowlight_cli.plausible import clipped
from lowlight_cli.training.journal import LOG, rows
from lowlight_cli.training.settings import Settings, merit

CONFIG, RECORD = "config.yaml", "run.json"
LARGEST_CONFIG, MOST_BRACKETS = 1 << 16, 500
"""Of a file of settings, which has one or two thousand bytes: YAML's reader takes minutes for a megabyte."""
SAME = ("kind", "sha256", "held_out", "held_out_bright", "held_out_photos", "preset", "darkened", "darkening")
"""What a resumed run must find of the data as it was: which pictures there are, and which are held out."""
PACKAGES = ("torch", "numpy", "accelerate", "safetensors", "pillow", "opencv-python-headless")


def write(
    folder: Path,
    model: str,
    settings: Settings,
    data: Mapping[str, Any],
    starts: Sequence[Mapping[str, Any]],
    accelerator: Accelerator,
) -> None:
    """Keep the resolved settings, and the starts of the run so far with this one."""
    values = {name: plain(value) for name, value in vars(settings).items()}
    text = yaml.safe_dump({"model": model, **values}, sort_keys=False, allow_unicode=True)
    atomic.write(folder / CONFIG, text.encode())
    if not starts and (folder / RECORD).exists():
        atomic.put_aside(folder / RECORD)
    starts = [*starts, start(accelerator) | {"data": dict(data)}]
    atomic.write(folder / RECORD, json.dumps({"model": model, "starts": starts}, indent=2).encode())


def plain(value: Any) -> Any:
    """Mappings and sequences as YAML's own."""
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def read_record(folder: Path) -> list[dict[str, Any]]:
    """The starts of a run so far; none if there is no record."""
    try:
        starts = json.loads((folder / RECORD).read_text(encoding="utf-8"))["starts"]
        if not isinstance(starts, list) or not all(isinstance(start.get("data", {}), dict) for start in starts):
            raise TypeError("its starts are not a list of tables")
        return starts
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OptionError(f"{folder / RECORD} is damaged: {error!r}.", "Delete it; it is a record only.") from error


def refuse_other_data(folder: Path, data: Mapping[str, Any]) -> None:
    """An OptionError where a run's data are not those that it began with."""
    starts = read_record(folder)
    before = starts[-1].get("data", {}) if starts else {}
    now = json.loads(json.dumps(dict(data)))
    differ = [name for name in SAME if before and before.get(name) != now.get(name)]
    if differ:
        raise OptionError(
            f"The data are not those that {folder} began with: {', '.join(differ)} differ.",
            "Give the same --data, --val, --scenes, --synth and --copies as before, or start anew with --init.",
        )


def changes(folder: Path, settings: Settings) -> list[str]:
    """What a resumed run does otherwise than it was told before, as texts."""
    before = read_config(folder / CONFIG)[1]
    now = {name: plain(value) for name, value in vars(settings).items()}
    return [
        f"{name}: {json.dumps(before[name])} -> {json.dumps(value)}"
        for name, value in now.items()
        if name in before and before[name] != value
    ]


def start(accelerator: Accelerator) -> dict[str, Any]:
    """One start: when, how, from what code, with which versions, on what machine."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["lowlight", *sys.argv[1:]]),
        "lowlight": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: packages.version(name) for name in PACKAGES},
        "system": platform.platform(),
        "device": str(accelerator.device),
        "precision": "bf16" if accelerator.mixed_precision == "bf16" else "fp32",
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
    """The git commit of the checkout that runs, `-dirty` if it was changed; None for an installed package."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(home), "describe", "--always", "--abbrev=40", "--dirty", "--match", ""]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def read_config(path: Path) -> tuple[str | None, dict[str, Any]]:
    """(`model` if it names one, settings) of a YAML file; one that is not there is a NoInput."""
    if not os.path.lexists(path):
        near = difflib.get_close_matches(path.name, siblings(path), n=1)
        remedy = f"Did you mean {path.with_name(near[0])}?" if near else "Check the name."
        raise NoInput(f"There is no file {path}.", remedy)
    try:
        text = regular.read(path, LARGEST_CONFIG)
        if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
            raise ValueError(f"it has more than {MOST_BRACKETS} brackets")
        values = yaml.safe_load(text.decode("utf-8"))
    # Dates, numbers and tables that are not valid, such as 2001-99-99, come from Python and not from YAML's own errors.
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise OptionError(f"{path} cannot be read as YAML: {error}.", "It holds lines such as `lr: 0.0001`.") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise OptionError(f"{path} holds no settings.", "It holds lines such as `lr: 0.0001`.")
    if not isinstance(model := values.pop("model", None), str | None):
        raise OptionError(f"{path} names the model {clipped(model)}.", "It holds a line such as `model: neid`.")
    return model, values


def siblings(path: Path) -> list[str]:
    """Names beside a path; none where they cannot be read."""
    try:
        return sorted(beside.name for beside in path.parent.iterdir())
    except OSError:
        return []


def kept(folder: Path) -> tuple[str | None, dict[str, Any]]:
    """The same of a run's own file, which has every setting: one that is cut off would go on with defaults."""
    model, values = read_config(folder / CONFIG)
    if [*Settings.__dataclass_fields__][-1] not in values:
        remedy = "Start anew with --init, in another --out."
        raise OptionError(f"{folder / CONFIG} is cut off: settings are missing.", remedy)
    return model, values


def training(folder: Path, weights: Path) -> dict[str, Any]:
    """What a manifest's row tells of the training of a run's weights: data, command, seed, commit, machine, hours,
    scores."""
    starts = read_record(folder)
    settings = read_config(folder / CONFIG)[1]
    logged = rows(folder / LOG)
    first = starts[0] if starts else {}
    return {
        "data": first.get("data", {}).get("summary"),
        "command": [begun.get("command") for begun in starts],
        "seed": settings.get("seed"),
        "commit": first.get("commit"),
        "hardware": f"{first.get('device')}, {first.get('precision')}; processes: {first.get('processes')}, threads: "
        f"{first.get('threads')}",
        "hours": round(max((float(row[1]) for row in logged), default=0.0) / 3600, 2),
        "validation": scores(logged, settings.get("best", ""), weights_metadata.step(weights)),
    }


def scores(logged: list[tuple[str, ...]], name: str, end: int | None) -> dict[str, float]:
    """The step and scores of the last validation up to the step `end` of the weights, or, if that is not known, of the
    one with the best score of that name; of darkened photos, or the losses, if that is all."""
    steps: dict[int, dict[str, float]] = {}
    for step, _, key, value in logged:
        if int(step):  # before the first one nothing is validated
            steps.setdefault(int(step), {})[key] = float(value)
    merits = {step: found for step, scores in steps.items() if (found := merit(scores, name)) is not None}
    if not (told := [step for step in merits if end is None or step <= end]):
        return {}
    best = max(told) if end is not None else max(told, key=merits.__getitem__)
    found = {key: value for key, value in steps[best].items() if key.startswith(("psnr", "ssim", "mae", "made_psnr"))}
    losses = {key: value for key, value in steps[best].items() if key.startswith("loss_")}
    return {"step": best} | (found or losses)
