"""What `--evidence` asks for besides the log: lossless outputs, float32, no network, the same bits again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_cli import manifest
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import OptionError
from lowlight_cli.jobs import LOSSLESS
from lowlight_cli.picture import Depth
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.settings import Settings

if TYPE_CHECKING:
    from lowlight_cli.tasks.enhance import EnhanceOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """What `--evidence` and the flags that go with it say."""

    log: Path
    case: str | None = None
    examiner: str | None = None
    note: str | None = None
    baseline: str | None = None
    """A classical method whose result is written beside each output."""
    allow_generative: bool = False
    argv: tuple[str, ...] = ()


def preset(options: EnhanceOptions) -> EnhanceOptions:
    """The options with what `--evidence` lays down; what contradicts it is an OptionError."""
    asked, layout = options.evidence, options.layout
    if asked is None:
        return options
    spec = manifest.find(options.model)
    if spec.generative and not asked.allow_generative:
        able = [row.name for row in manifest.models().values() if not row.generative and not row.classical]
        raise OptionError(
            f"{spec.name} is generative: it was trained to make pictures look real, and may show what was not there.",
            f"Use {', '.join(able)} or a classical method, or add --allow-generative, which the log records.",
        )
    refuse("--overwrite", layout.existing == "overwrite", "outputs that are logged are never replaced")
    refuse(f"--format {layout.format}", layout.format not in ("keep", "lossless", *LOSSLESS), "outputs are lossless")
    precision = options.runner.precision
    refuse(f"--precision {precision}", precision not in ("auto", "fp32"), "networks run in fp32")
    refuse(f"--baseline {asked.baseline}", asked.baseline == options.model, "that is the model itself")
    if asked.baseline is not None and not manifest.find(asked.baseline).classical:
        able = ", ".join(row.name for row in manifest.models().values() if row.classical)
        raise OptionError(f"--baseline {asked.baseline} is no classical method.", f"There are {able}.")
    format = "lossless" if layout.format == "keep" else layout.format
    existing = "never" if layout.existing == "refuse" else layout.existing
    return dataclasses.replace(
        options,
        layout=dataclasses.replace(layout, format=format, existing=existing),
        runner=dataclasses.replace(options.runner, precision="fp32", offline=True, deterministic=True),
    )


def baseline(model: str, depth: Depth) -> Enhancer:
    """A classical method as it runs beside a network: of what is asked of that, it shares the depth alone."""
    return Enhancer(open_runner(manifest.find(model), RunnerOptions(deterministic=True)), Settings(depth=depth))


def refuse(flag: str, given: bool, why: str) -> None:
    """The error for what `--evidence` does not allow."""
    if given:
        raise OptionError(f"--evidence takes no {flag}: {why}.", "Leave it out.")
