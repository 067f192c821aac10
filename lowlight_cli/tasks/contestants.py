"""What a benchmark compares: models, pictures that some other tool made, and the dark pictures as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import manifest, weights
from lowlight_cli.data import pairs
from lowlight_cli.data.sets import Item
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import NoInput, OptionError, PictureError
from lowlight_cli.runners import RunnerOptions, open_runner

Pixels = NDArray[np.uint8]
INPUT, TRUTH = "input", "truth"


class Contestant(Protocol):
    """One row of the table. `open` may fail; `runs` tells whether its time means anything."""

    name: str
    runs: bool
    training: Mapping[str, Any]

    def open(self) -> None:
        """Load what it needs."""
        ...

    def __call__(self, item: Item, low: Pixels) -> Pixels:
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

    def __init__(self, name: str, options: RunnerOptions) -> None:
        self.spec = manifest.find(name)
        # What is asked of networks, a back end or a device, means nothing to a classical method.
        self.options = RunnerOptions(threads=options.threads) if self.spec.classical else options
        self.name, self.training = name, self.spec.training
        self.enhancer: Enhancer | None = None
        self.ran: dict[str, Any] = {}

    def open(self) -> None:
        """See `Contestant`; a first picture warms it up, so that times are those of the work."""
        self.enhancer = Enhancer(open_runner(self.spec, self.options), Settings())
        runner = self.enhancer.runner
        self.ran = {
            "weights_sha256": runner.sha256,
            "backend": runner.backend,
            "device": runner.device,
            "precision": runner.precision,
        }
        self.enhancer(np.full((64, 64, 3), 20, np.uint8))

    def __call__(self, item: Item, low: Pixels) -> Pixels:  # noqa: ARG002
        """See `Contestant`."""
        return self.enhancer(low)

    def identity(self, name: str) -> list[Any]:  # noqa: ARG002
        """See `Contestant`."""
        return [self.name, self.ran, dict(self.spec.params)]

    def about(self) -> dict[str, Any]:
        """See `Contestant`."""
        return {
            "title": self.spec.summary,
            "kind": "classical" if self.spec.classical else "network",
            "parameters": self.spec.parameters or None,
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

    def __init__(self, name: str, folder: Path, items: Sequence[Item]) -> None:
        self.name, self.folder, self.training = name, folder, {}
        if not folder.is_dir():
            raise NoInput(f"There is no folder {folder}.", "--images takes PATH or NAME=PATH.")
        files = pairs.files_by_stem(folder)
        names = {item: {item.name, item.low.stem, item.high.stem if item.high else item.name} for item in items}
        self.files = {item.name: next((files[n] for n in names[item] if n in files), None) for item in items}
        if lost := [name for name, path in self.files.items() if path is None]:
            raise PictureError(
                f"{folder} has no picture for {len(lost)} of {len(items)}, among them {', '.join(lost[:5])}.",
                "Each output bears the name of its input; the suffix may differ.",
            )

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, low: Pixels) -> Pixels:
        """See `Contestant`."""
        output = pairs.eight_bit(self.files[item.name])
        if output.shape != low.shape:
            raise PictureError(f"{self.files[item.name]} is {output.shape[:2]}, the input is {low.shape[:2]}.", "")
        return output

    def identity(self, name: str) -> list[Any]:
        """See `Contestant`."""
        return [self.name, weights.sha256_of(self.files[name])]

    def about(self) -> dict[str, Any]:
        """See `Contestant`."""
        unknown = ("parameters", "weights_sha256", "backend", "device", "precision")
        return {"title": "Pictures made elsewhere", "kind": "pictures", **dict.fromkeys(unknown)}

    def close(self) -> None:
        """Nothing to give back."""


class Unchanged(Pictures):
    """The dark pictures as they are: what every method must beat."""

    def __init__(self) -> None:
        self.name, self.training = INPUT, {}

    def __call__(self, item: Item, low: Pixels) -> Pixels:  # noqa: ARG002
        """See `Contestant`."""
        return low

    def identity(self, name: str) -> list[Any]:  # noqa: ARG002
        """See `Contestant`."""
        return [INPUT]

    def about(self) -> dict[str, Any]:
        """See `Contestant`."""
        return {**super().about(), "title": "The dark pictures as they are", "kind": "input"}


def contestants(
    models: Sequence[str], images: Sequence[str], items: Sequence[Item], options: RunnerOptions
) -> list[Contestant]:
    """The input, the models (`all`: every one of the manifest), the folders; two of one name are an error."""
    names = list(dict.fromkeys(name for model in models for name in (manifest.models() if model == "all" else [model])))
    folders = [Pictures(*named(text), items) for text in images]
    found: list[Contestant] = [Unchanged(), *(Model(name, options) for name in names if name != INPUT), *folders]
    seen: set[str] = set()
    for contestant in found:
        if contestant.name in seen or contestant.name == TRUTH:
            raise OptionError(f"Two contestants are called {contestant.name!r}.", "Use --images OTHER_NAME=PATH.")
        seen.add(contestant.name)
    return found


def named(text: str) -> tuple[str, Path]:
    """(name, folder) of PATH or NAME=PATH."""
    name, equals, path = text.partition("=")
    folder = Path(path if equals else text)
    name = name if equals else folder.resolve().name
    if not name or name in (".", "..") or {"/", "\\", "\0"} & {*name}:
        raise OptionError(f"{name!r} cannot be the name of a row.", "Use --images NAME=PATH with a plain name.")
    return name, folder
