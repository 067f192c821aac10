"""What a benchmark compares: models, pictures that some other tool made, and the dark pictures as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import manifest, weights
from lowlight_cli.choices import EXPOSURES
from lowlight_cli.data import pairs
from lowlight_cli.data.sets import Item
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import NoInput, OptionError, PictureError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.metrics.fidelity import mean_luma
from lowlight_cli.report.document import INPUT, TRUTH
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.runners.options import check_options
from lowlight_cli.settings import Settings, exposure_refused

Pixels = NDArray[np.uint8]
Brightness = float | Literal["truth"] | None
"""Mean luma that a model is told; `truth`: that of each picture's truth; None: it decides."""


class Contestant(Protocol):
    """One row of the table. `open` may fail; `runs` tells whether its time means anything."""

    name: str
    runs: bool
    training: Mapping[str, Any]

    def open(self) -> None:
        """Load what it needs."""
        ...

    def __call__(self, item: Item, low: Pixels, high: Pixels | None) -> Pixels:
        """The output, (H, W, 3) uint8."""
        ...

    def identity(self, name: str) -> list[Any]:
        """What its output of one picture depends on, beside the picture."""
        ...

    def about(self) -> dict[str, Any]:
        """Its entry in the document: title, kind, what really ran."""
        ...

    def close(self) -> None:
        """Give back memory."""
        ...


class Model:
    """A row of the manifest, run here."""

    runs = True

    def __init__(
        self, name: str, options: RunnerOptions, exposure: Brightness = None, shadows: float | None = 0.0
    ) -> None:
        self.spec = manifest.find(name)
        self.exposure = exposure if self.spec.exposure else None
        # A model whose row asks for none has none, and `auto` does not fit it.
        self.shadows = shadows if shadows is not None or self.spec.shadows else 0.0
        # What is asked of networks, a back end or a device, means nothing to a classical method.
        self.options = RunnerOptions(threads=options.threads) if self.spec.classical else options
        # Whoever brings weights knows what they were trained on; the row tells it of its own.
        self.name, self.training = name, {} if self.options.weights else self.spec.training
        self.enhancer: Enhancer | None = None
        self.ran: dict[str, Any] = {}

    def open(self) -> None:
        """See `Contestant`; a first picture warms it up, so that times are those of the work."""
        dark = np.full((64, 64, 3), 20, np.uint8)
        self.enhancer = Enhancer(
            open_runner(self.spec, self.options), Settings(exposure=self.target(dark), shadows=self.shadows)
        )
        runner = self.enhancer.runner
        self.spec = runner.spec
        self.ran = {
            "weights_sha256": runner.sha256,
            "backend": runner.backend,
            "device": runner.device,
            "precision": runner.precision,
        }
        self.enhancer(dark)

    def __call__(self, item: Item, low: Pixels, high: Pixels | None) -> Pixels:  # noqa: ARG002
        """See `Contestant`."""
        self.enhancer.aim(self.target(high))
        return self.enhancer(low)

    def target(self, high: Pixels | None) -> float | None:
        """The brightness to ask for, of a picture with this truth, which may be all black or all white."""
        return float(np.clip(mean_luma(high) / 255, *EXPOSURES)) if self.exposure == TRUTH else self.exposure

    def identity(self, name: str) -> list[Any]:  # noqa: ARG002
        """See `Contestant`."""
        # All files: the runner's sha256 is that of one graph, and the brightness is another one's.
        files = sorted(file.sha256 for file in self.spec.files)
        told = [self.exposure, self.shadows, self.spec.shadows]
        return [self.name, self.ran, dict(self.spec.params), told, files]

    def about(self) -> dict[str, Any]:
        """See `Contestant`."""
        return {
            "title": self.spec.summary,
            "kind": "classical" if self.spec.classical else "network",
            "parameters": self.spec.parameters or None,
            **({"own_weights": True} if self.options.weights else {}),
            "exposure": self.exposure,
            "shadows": "auto" if self.shadows is None else self.shadows,
            **dict.fromkeys(("weights_sha256", "backend", "device", "precision")),
            **self.ran,
        }

    def close(self) -> None:
        """See `Contestant`."""
        if self.enhancer is not None:
            self.enhancer.close()
        self.enhancer = None


class Pictures:
    """A folder of outputs that some other tool made, by the names of the set's pictures."""

    runs = False

    def __init__(self, name: str, folder: Path, items: Sequence[Item], max_pixels: int) -> None:
        self.name, self.folder, self.training, self.max_pixels = name, folder, {}, max_pixels
        if not folder.is_dir():
            raise NoInput(f"There is no folder {folder}.", "--images takes PATH or NAME=PATH.")
        files = pairs.files_by_stem(folder)
        found = {item.name: output_of(item, files) for item in items}
        if lost := [name for name, path in found.items() if path is None]:
            raise pairs.Unpaired(
                f"{folder} has no picture for {len(lost)} of {len(items)}, among them {', '.join(lost[:5])}.",
                "Each output bears the name of its input; the suffix may differ.",
            )
        owners: dict[Path, str] = {}
        for item, path in found.items():
            if (other := owners.setdefault(path, item)) != item:
                raise pairs.Unpaired(f"{path} would be the output of both {other} and {item}.", f"Name one {item}.png.")
        self.files = found

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, low: Pixels, high: Pixels | None) -> Pixels:
        """See `Contestant`."""
        output = pairs.eight_bit(self.files[item.name], max_pixels=self.max_pixels)
        if output.shape != low.shape:
            (height, width), (high, wide) = output.shape[:2], low.shape[:2]
            raise PictureError(
                f"{self.files[item.name]} is {width}x{height}, the input is {wide}x{high}.",
                "Outputs are scored at the input's size: make this one again, uncropped and not enlarged.",
            )
        return output

    def identity(self, name: str) -> list[Any]:
        """See `Contestant`."""
        return [self.name, weights.sha256_of(self.files[name])]

    def about(self) -> dict[str, Any]:
        """See `Contestant`."""
        return not_run("Pictures made elsewhere", "pictures")

    def close(self) -> None:
        """Nothing to give back."""


class Unchanged:
    """The dark pictures as they are: what every method must beat."""

    runs = False

    def __init__(self) -> None:
        self.name, self.training = INPUT, {}

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, low: Pixels, high: Pixels | None) -> Pixels:  # noqa: ARG002
        """See `Contestant`."""
        return low

    def identity(self, name: str) -> list[Any]:  # noqa: ARG002
        """See `Contestant`."""
        return [INPUT]

    def about(self) -> dict[str, Any]:
        """See `Contestant`."""
        return not_run("The dark pictures as they are", "input")

    def close(self) -> None:
        """Nothing to give back."""


def not_run(title: str, kind: str) -> dict[str, Any]:
    """The entry in the document of what no model of ours made."""
    unknown = ("parameters", "exposure", "shadows", "weights_sha256", "backend", "device", "precision")
    return {"title": title, "kind": kind, **dict.fromkeys(unknown)}


def output_of(item: Item, files: Mapping[str, Path]) -> Path | None:
    """The file that bears an item's name, its input's or its truth's; two such files are an error, not a choice."""
    stems = dict.fromkeys((item.name, item.low.stem, item.high.stem if item.high else item.name))
    found = [files[stem] for stem in stems if stem in files]
    if len(found) > 1:
        raise pairs.Unpaired(f"Both {found[0]} and {found[1]} may be the output of {item.name}.", "Remove one of them.")
    return found[0] if found else None


def contestants(
    models: Sequence[str],
    images: Sequence[str],
    items: Sequence[Item],
    options: RunnerOptions,
    *,
    exposure: Brightness,
    shadows: float | None,
    max_pixels: int,
) -> list[Contestant]:
    """The input, the models, the folders; two of one name are an error."""
    own = [Model(name, options, exposure, shadows) for name in model_names(models, images, options)]
    if exposure is not None and all(model.exposure is None for model in own):
        raise exposure_refused("No model here takes an --exposure.")
    if shadows != 0 and not own:
        raise OptionError("No model is there to take --shadows.", "Leave it out, or name a --model.")
    found: list[Contestant] = [Unchanged(), *own]
    seen = {contestant.name for contestant in found}
    for name, folder in map(named, images):
        if name in (INPUT, TRUTH):
            raise OptionError(f"The name {name!r} is reserved.", "Use --images OTHER_NAME=PATH.")
        if name in seen:
            raise OptionError(f"Two contestants are called {name!r}.", "Use --images OTHER_NAME=PATH.")
        seen.add(name)
        found.append(Pictures(name, folder, items, max_pixels))
    return found


def model_names(models: Sequence[str], images: Sequence[str], options: RunnerOptions) -> list[str]:
    """Names of the models to run (`all`: every one that has weights or needs none). Nothing to score, and what these
    models cannot be asked for, is an error, which needs no data set to be seen."""
    every = [spec.name for spec in manifest.models().values() if not spec.untrained]
    names = dict.fromkeys(name for model in models for name in (every if model == "all" else [model]))
    names.pop(INPUT, None)
    if not names and not images:
        raise OptionError("Nothing to score: the input is always in the table.", "Name a --model, or --images DIR.")
    refuse_unheard([*map(manifest.find, names)], options)
    return [*names]


def refuse_unheard(specs: Sequence[ModelSpec], options: RunnerOptions) -> None:
    """An OptionError for what is asked of a network where there is none, or of one where there are several."""
    if options.weights and len(specs) != 1:
        raise OptionError(f"--weights fits one model, here are {len(specs)}.", "Name one --model.")
    if not all(spec.classical for spec in specs):
        return
    for spec in specs:
        check_options(spec, options)
    asked = {"backend": ("auto",), "device": ("auto", "cpu"), "precision": ("auto", "fp32")}
    for name, idle in asked.items():
        if (value := getattr(options, name)) not in idle:
            raise OptionError(f"No network is there to take --{name} {value}.", "Leave it out, or name a --model.")


def named(text: str) -> tuple[str, Path]:
    """(name, folder) of PATH or NAME=PATH; what is a folder as it stands is a PATH."""
    name, equals, path = text.partition("=")
    if not equals or Path(text).is_dir():
        folder = Path(text)
        name = Path(os.path.abspath(folder)).name  # noqa: PTH100 - resolve() fails on a link to itself
    else:
        folder = Path(path)
    if not name or name in (".", "..") or {"/", "\\", "\0"} & {*name}:
        raise OptionError(f"{name!r} cannot be the name of a row.", "Use --images NAME=PATH with a plain name.")
    return name, folder
