"""What became of one file, on its way and at its end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lowlight_cli import atomic, picture
from lowlight_cli.errors import FULL, LowlightError, PictureError, ran_out_of_memory, reason_of
from lowlight_cli.jobs import Job
from lowlight_cli.picture import Picture

if TYPE_CHECKING:
    from lowlight_cli.enhancer import Enhancer
    from lowlight_cli.tasks.enhance import EnhanceOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one file. `seconds` is the time spent on it, waiting left out; sizes are the output's."""

    source: Path
    target: Path
    status: Literal["done", "failed", "skipped", "planned"]
    seconds: float = 0.0
    width: int | None = None
    height: int | None = None
    tile: int | None = None
    exposure: float | None = None
    """The brightness that it was to be brought to, mean luma; None: the model takes none."""
    shadows: float | None = None
    """By how much they were lifted; 0: not at all."""
    notices: tuple[str, ...] = ()
    development: str | None = None
    """How a camera raw file was developed; None for other kinds."""
    error: str | None = None
    hint: str | None = None
    maps: tuple[Path, ...] = ()
    """Files of the network's maps that were written, or would be."""


@dataclasses.dataclass
class Item:
    """A picture on its way: from the decoder to the network to the encoder."""

    job: Job
    picture: Picture | None = None
    error: LowlightError | None = None
    seconds: float = 0.0
    tile: int | None = None
    exposure: float | None = None
    shadows: float | None = None
    """See `Result`; None also where the network did not run."""
    notices: tuple[str, ...] = ()
    development: str | None = None
    size: tuple[int, int] = (0, 0)
    """Height and width of the output."""

    wanted: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    """Maps to write, by name."""
    maps: Mapping[str, Picture] = dataclasses.field(default_factory=dict)
    unmapped: LowlightError | None = None
    """Why there are no maps; the picture is written all the same."""
    written: tuple[Path, ...] = ()
    check: Callable[[], None] = atomic.allow
    """Called when all is written but its name; see `atomic.replacing`."""
    baseline: Picture | None = None
    """What a classical method made of the same source, where it is asked for."""
    made: tuple[Path, ...] = ()
    """Files that are written, maps aside, where a witness must know."""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What a witness records."""

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done."""
        return self.job.skip and not self.wanted

    @property
    def pixels_to_decode(self) -> int:
        """As the header tells; 0 where it does not, and where nothing is decoded. A named pipe, which waits, is not
        opened, and a share that does not answer is not waited for long."""
        job = self.job
        return 0 if self.idle or job.problem else picture.pixel_count(job.source)

    @property
    def pixels(self) -> int:
        """Of all that waits to be written."""
        return math.prod(self.size) + sum(found.height * found.width for found in self.maps.values())

    def result(self) -> Result:
        """What a user is told of it."""
        told: dict[str, Any] = {"status": "skipped" if self.idle else "done"}
        if self.error is not None:
            told = {"status": "failed", "error": self.error.message, "hint": self.error.hint or None}
        elif not self.job.skip:
            told |= {"height": self.size[0], "width": self.size[1], "tile": self.tile}
            told |= {"exposure": self.exposure, "shadows": self.shadows}
        told |= {"seconds": self.seconds, "notices": self.notices, "maps": self.written}
        told |= {"development": self.development}
        return Result(source=self.job.source, target=self.job.target, **told)


def as_lowlight_error(
    error: Exception,
    *,
    memory: str = "Use a smaller --tile, or a machine with more memory.",
    path: str = "Check the path and its permissions.",
    disk: str = "Free some space.",
) -> LowlightError:
    """Any error of one file as one that can be shown; texts are remedies for what ran out or cannot be used."""
    if isinstance(error, LowlightError):
        # A new one: the old one's traceback holds the frames of the work, and in them the picture.
        return type(error)(error.message, error.hint)
    if ran_out_of_memory(error):
        return PictureError("There is not enough memory.", memory)
    if isinstance(error, OSError):
        remedy = disk if error.errno in FULL else path
        return PictureError(": ".join(str(part) for part in (reason_of(error), error.filename) if part), remedy)
    return PictureError(f"Unexpected {type(error).__name__}: {error}", "Please report this with `lowlight doctor`.")


def brief(value: float | None) -> float | None:
    """To four digits: never 0 where it was any."""
    return None if value is None else float(f"{value:.4g}")


def as_json(result: Result, enhancer: Enhancer | None, options: EnhanceOptions) -> dict[str, Any]:
    """A result as the line that `--json` prints: every field always there."""
    # Of what was there already, nobody knows what made it.
    skipped = result.status == "skipped"
    runner = None if enhancer is None or skipped else enhancer.runner
    line = dataclasses.asdict(result)
    line |= {"source": str(result.source), "target": str(result.target), "seconds": round(result.seconds, 4)}
    line |= {"exposure": brief(result.exposure), "shadows": brief(result.shadows)}
    line |= {"maps": [str(path) for path in result.maps]}
    line |= {"model": None if skipped else options.model, "scale": None if skipped else options.runner.scale}
    line |= {"weights_sha256": runner.sha256 if runner else None}
    line |= {name: getattr(runner, name) if runner else None for name in ("backend", "device", "precision")}
    return line
