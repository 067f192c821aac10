"""What a training step costs, for each of the five recipes: at their papers' sizes, and at sizes that suit a CPU.

python benchmarks/training.py --device cpu --threads 1 --out benchmarks/results

The steps are those of `lowlight train`, on random pictures: no decoding, no logging, no validation. The recipes take
turns, so that a disturbance meets all of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from accelerate import Accelerator
from tables import machine_lines, table

from lowlight_cli import models
from lowlight_cli.nn.perceptual import open_perceptual
from lowlight_cli.tasks.train import open_accelerator
from lowlight_cli.tasks.train_plan import TrainOptions, architecture
from lowlight_cli.training.descent import Descent
from lowlight_cli.training.settings import Settings

SMALL: dict[str, dict[str, Any]] = {
    "neid": {"batch": 4, "crop": 128},
    "ba-gan": {
        "batch": 8,
        "params": {"widths": [16, 32, 64, 128]},
        "discriminator": {"widths": [24, 48, 64, 64, 48], "hidden": 256},
    },
    "ema-cyclegan": {
        "batch": 1,
        "crop": 96,
        "params": {"width": 16, "blocks": 6, "groups": 8},
        "discriminator": {"width": 16},
    },
    "drs-cyclegan": {"params": {"width": 16, "downsample": 2}, "discriminator": {"width": 16}},
    "aux-retinex": {"crop": 96},
}
"""Settings beside the papers', under which a step takes seconds on one core."""


@dataclasses.dataclass
class Work:
    """One recipe, ready to step."""

    model: str
    size: str
    settings: Settings
    step: Callable[[], object]
    seconds: list[float] = dataclasses.field(default_factory=list)

    def timed(self, device: torch.device) -> None:
        """One step, its seconds kept."""
        wait(device)
        started = time.perf_counter()
        self.step()
        wait(device)
        self.seconds.append(time.perf_counter() - started)


def wait(device: torch.device) -> None:
    """Until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def prepared(model: str, size: str, accelerator: Accelerator) -> Work:
    """The recipe of a model with random pictures to step on."""
    module = models.module(architecture(model))
    settings = Settings(**module.DEFAULTS).override(SMALL[model] if size == "small" else {"batch": 1})
    perceptual = open_perceptual("auto", offline=True, announce=lambda _: None)
    torch.manual_seed(0)
    recipe = module.recipe(settings, perceptual if settings.loss.get("perceptual") else None)
    for part in [*recipe.networks.values(), *recipe.extras.values()]:
        if isinstance(part, torch.nn.Module):
            part.to(accelerator.device)
    descend = Descent(recipe, accelerator, clip=settings.clip)
    side = module.geometry(**settings.params)["thumbnail"] or 8
    shapes = {"": settings.crop, "_thumbnail": side}
    batch = {
        f"{name}{kind}": torch.rand(settings.batch, 3, length, length, device=accelerator.device)
        for name in ("low", "high")
        for kind, length in shapes.items()
    }
    batch["brightness"] = torch.full((settings.batch,), 0.5, device=accelerator.device)

    def step() -> object:
        with accelerator.autocast():
            return recipe.step(batch, descend)

    return Work(model, size, settings, step)


def row(work: Work) -> dict[str, Any]:
    """What was measured of one recipe."""
    seconds = work.seconds[1:] or work.seconds  # the first one warms up
    return {
        "model": work.model,
        "size": work.size,
        "batch": work.settings.batch,
        "crop": work.settings.crop,
        "settings": SMALL[work.model] if work.size == "small" else {},
        "steps": len(seconds),
        "seconds_per_1000_steps": round(1000 * statistics.median(seconds), 1),
        "least": round(1000 * min(seconds), 1),
        "most": round(1000 * max(seconds), 1),
    }


def page(about: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The result as Markdown."""
    lines = []
    for one in rows:
        settings = json.dumps({k: v for k, v in one["settings"].items() if k not in ("batch", "crop")})
        cells = [str(one[name]) for name in ("model", "size", "batch", "crop")]
        cost = f"{one['seconds_per_1000_steps']:.0f} ({one['least']:.0f} to {one['most']:.0f})"
        lines.append((*cells, f"`{settings}`", str(one["steps"]), cost))
    headings = ("model", "size", "batch", "crop", "settings", "steps", "seconds per 1000 steps")
    return (
        "# What a training step costs\n\n"
        "Made by `benchmarks/training.py`; do not edit. Seconds for 1000 steps: the median, the least and the most.\n"
        "Recipes of one size took turns. `paper`: the recipe's defaults, one picture a step: cost grows with it.\n\n"
        f"{machine_lines(about)}\n- Settings: {about['settings']}\n\n{table(headings, lines)}"
    )


def main() -> None:
    """Measure, and write `training.json` and `training.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6, help="of the small sizes, one more to warm up")
    parser.add_argument("--paper-steps", type=int, default=1, help="of the papers' sizes, one picture each; 0: none")
    parser.add_argument("--name", default="training", help="of the result's files")
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    if told.threads:
        torch.set_num_threads(told.threads)
    torch.set_flush_denormal(True)
    accelerator = open_accelerator(TrainOptions(model="", out=told.out, device=told.device, precision=told.precision))
    rows = []
    for size, steps in (("small", told.steps + 1), ("paper", told.paper_steps)):
        works = [prepared(model, size, accelerator) for model in SMALL] if steps else []
        for _ in range(steps):
            for work in works:
                work.timed(accelerator.device)
        rows += [row(work) for work in works]
    settings = {name: getattr(told, name) for name in ("device", "precision", "threads")}
    about = machine.about(settings)
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / f"{told.name}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    (told.out / f"{told.name}.md").write_text(page(about, rows))


if __name__ == "__main__":
    main()
