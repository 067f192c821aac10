"""One open model, pictures in, pictures out: what the command and the library share."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli import brightness, choices, manifest, picture, tiles
from lowlight_cli.errors import ModelUnavailable, OptionError, PictureError
from lowlight_cli.frames import HostFrames
from lowlight_cli.lanes import Lanes
from lowlight_cli.picture import Picture
from lowlight_cli.runners import Abreast, Frames, Landing, Runner, RunnerOptions, open_runner
from lowlight_cli.settings import Settings, check
from lowlight_cli.shadows import SIDE, Relit, Shadows
from lowlight_cli.stopwatch import OFF, Untimed
from lowlight_cli.tile_choice import TileChoice
from lowlight_cli.tiles import TilePlan

if TYPE_CHECKING:
    from PIL.Image import Image


class Enhancer:
    """Runs an open network on pictures, tiled where they are large."""

    def __init__(self, runner: Runner, settings: Settings, scale: int = 1, stopwatch: Untimed = OFF) -> None:
        self.runner, self.settings, self.scale, self.stopwatch = runner, settings, scale, stopwatch
        self.tile_choice = TileChoice(runner, settings.tile)
        self.lifted: list[float] = []
        """By how much the shadows of each of these pictures were lifted."""
        self.aimed: list[float | None] = []
        """The brightness that each was to be brought to, see `brightness.aims`."""
        self.closed = False
        self.lanes = Lanes(runner.lanes) if isinstance(runner, Abreast) else None
        check(runner.spec, settings)

    def __repr__(self) -> str:
        runner = self.runner
        state = "closed" if self.closed else f"{runner.backend} on {runner.device}, {runner.precision}"
        return f"<Enhancer {runner.spec.name}: {state}>"

    def __enter__(self) -> Self:
        self.refuse_closed()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __call__(self, source: Path | str | Image | NDArray[Any]) -> NDArray[Any]:
        """The enhanced picture of a path, a Pillow image or an array, as (H, W[, 2 to 4]) integers.

        Arrays are (H, W) or (H, W, 1 to 4), RGB, alpha last, uint8, uint16 or float in [0, 1]; floats give 16 bits, and
        what is a little outside, by resampling say, is clipped.
        """
        return as_array(self.enhance([as_picture(source)])[0])

    def aim(self, exposure: float | None) -> None:
        """Change the brightness that is asked for, from the next picture on: see `Settings`."""
        settings = dataclasses.replace(self.settings, exposure=exposure)
        check(self.runner.spec, settings)
        self.settings = settings

    def enhance(self, pictures: Sequence[Picture]) -> list[Picture]:
        """The enhanced pictures; all must have one size and depth."""
        self.refuse_closed()
        self.lifted, self.aimed = [], []
        with self.stopwatch.stage("blend"):  # what is neither "resize" nor "network"
            results = [result for batch in self.batches(pictures) for result in self.enhance_batch(batch)]
        self.stopwatch.count("network", sum(p.height * p.width for p in pictures))
        return results

    def batches(self, pictures: Sequence[Picture]) -> list[Sequence[Picture]]:
        """What goes through the network together: all of them, or each alone, so that none changes another's bits."""
        return [[p] for p in pictures] if self.runner.deterministic else [pictures]

    def enhance_batch(self, pictures: Sequence[Picture]) -> list[Picture]:
        """As `enhance`, all at once; adds to `lifted` and `aimed`."""
        first, pixels = pictures[0], stacked(pictures)
        deep = self.settings.depth == 16 or (self.settings.depth == "keep" and first.bits == 16)
        with self.on_device():
            frames = self.frames(pixels)
            vectors, relit = self.steering(frames, pixels.shape)
            told = {"bits": 16 if deep else 8, "relit": relit, "strength": self.settings.strength}

            def enhanced(plan: TilePlan) -> NDArray:
                with self.side_by_side(plan):
                    return frames.enhanced(vectors, plan, **told)

            out = self.tile_choice.within_memory(pixels.shape, enhanced, self.scale)
        return [self.finished(p, values) for p, values in zip(pictures, out, strict=True)]

    def frames(self, pixels: NDArray) -> Frames:
        """Pictures (N, H, W, 3) where the network is."""
        if isinstance(self.runner, Landing):
            return self.runner.frames(pixels)
        alone = self.runner.alone if isinstance(self.runner, Abreast) else None
        return HostFrames(pixels, self.network, self.runner.spec.padded, self.scale, alone, self.lanes)

    def on_device(self) -> AbstractContextManager[None]:
        """All is the network's time where pictures lie on its device: what is waited for cannot be told apart."""
        return self.stopwatch.stage("network") if isinstance(self.runner, Landing) else contextlib.nullcontext()

    def side_by_side(self, plan: TilePlan) -> AbstractContextManager[None]:
        """All is the network's time where tiles run side by side, each in a thread that does all that it needs."""
        return self.stopwatch.stage("network") if plan.at_once > 1 else contextlib.nullcontext()

    def network(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runner`."""
        with self.stopwatch.stage("network"):
            return self.runner(batch, vectors)

    def maps(self, pictures: Sequence[Picture]) -> list[dict[str, Picture]]:
        """The network's maps of each picture by name: 8 bits, of its own size, whatever the scale of the output.

        All pictures must have one size and depth. Only a runner opened with `maps=True` is sure to give them.
        """
        self.refuse_closed()
        if not hasattr(self.runner, "maps"):
            raise OptionError(f"{self.runner.backend} gives no maps.", "Open the model with maps=True.")
        self.lifted, self.aimed = [], []
        return [maps for batch in self.batches(pictures) for maps in self.map_batch(batch)]

    def map_batch(self, pictures: Sequence[Picture]) -> list[dict[str, Picture]]:
        """As `maps`, all at once; adds to `lifted` and `aimed`."""
        pixels = stacked(pictures)
        vectors, relit = self.steering(self.frames(pixels), pixels.shape)
        prepare, padded = relit or tiles.as_read, self.runner.spec.padded
        found = self.tile_choice.within_memory(
            pixels.shape,
            lambda plan: tiles.map_tiled(
                pixels, lambda batch: self.runner.maps(batch, vectors), plan, padded=padded, prepare=prepare
            ),
        )
        return [{name: picture.from_array(values[i]) for name, values in found.items()} for i in range(len(pixels))]

    def steering(self, frames: Frames, shape: Sequence[int]) -> tuple[NDArray[np.float32], Relit | None]:
        """What must be known of the whole pictures (N, H, W, 3): vectors for the network, and what lifts shadows of
        their tiles, if any are."""
        spec, amount, exposure = self.runner.spec, self.settings.shadows, self.settings.exposure
        with self.stopwatch.stage("resize"):
            most = spec.shadows if amount is None else amount
            small = frames.thumbnails(spec.thumbnail or (SIDE if most else 0))
            planes = np.stack([square.transpose(2, 0, 1) for square in small])
            relit = Relit([Shadows(square, amount, spec.shadows) for square in small], *shape[1:3])
            amounts = [each.amount for each in relit.shadows]
            self.lifted += amounts
            seen = relit.thumbnails(planes) if any(amounts) else planes
            vectors = self.runner.context(seen, exposure)
            self.aimed += brightness.aims(spec, seen, vectors, exposure)
            return vectors, relit if any(amounts) else None

    def finished(self, source: Picture, pixels: NDArray) -> Picture:
        """The source with other pixels; what lies beside them is kept."""
        alpha = source.alpha
        if alpha is not None and self.scale != 1:
            alpha = cv2.resize(alpha, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_LINEAR)
        if alpha is not None and alpha.dtype != pixels.dtype:
            alpha = picture.to_integers(picture.to_float(alpha), 8 * pixels.dtype.itemsize)
        exif = source.exif if self.scale == 1 else picture.resized(source.exif, *pixels.shape[1::-1])
        return dataclasses.replace(source, pixels=pixels, alpha=alpha, exif=exif)

    def close(self) -> None:
        """Give back memory and device; the model cannot be used any more."""
        if not self.closed:
            self.closed = True
            if self.lanes:
                self.lanes.close()
            self.runner.close()

    def refuse_closed(self) -> None:
        """The error for a model that was closed."""
        if self.closed:
            raise ModelUnavailable(f"{self.runner.spec.name} is closed.", "Open it again.")


def open_model(
    name: str = choices.MODEL,
    *,
    strength: float = 1.0,
    exposure: float | Literal["auto"] = "auto",
    shadows: float | Literal["auto"] = "auto",
    tile: int | Literal["auto"] = "auto",
    depth: picture.Depth = "keep",
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    scale: int = 1,
    weights: Path | str | None = None,
    threads: int = 0,
    offline: bool = False,
    progress: bool = False,
    maps: bool = False,
    deterministic: bool = False,
) -> Enhancer:
    """An open model, for a `with` block or `close()`. Call it with a path, a Pillow image or an array; it gives an
    array.

    What to do with a picture: `strength` 0 to 1, `exposure` between 0 and 1, `shadows` 0 to 1, `tile` in pixels (0:
    never), `depth` "keep", 8 or 16; see `Settings`. "auto": the network, the picture or the memory decides.

    How to open the model: `backend` ("auto", "torch", "onnx"), `device` ("auto", "cpu", "cuda", "cuda:N", "mps"),
    `precision` ("auto", "fp32", "fp16", "bf16", "int8"), `scale` (1, 2), `weights` (the path of your own), `threads`
    (0: the back end chooses), `offline` (download nothing), `progress` (of a download, on stderr), `maps` (`maps()`
    gives them) and `deterministic` (the same picture, the same bits); see `RunnerOptions`.

    A keyword that is not among these is a TypeError; all else is a LowlightError, of `lowlight_cli.errors`: OptionError
    (a value, or one of a type, that no model or not this one takes), ModelUnavailable (no such model, no weights),
    DeviceUnavailable. What cannot be done with a picture is a PictureError or an OutOfMemory when the model is called.
    """
    if not isinstance(name, str):
        raise OptionError(f"name {name!r} is no text.", f"Known models: {', '.join(manifest.models())}.")
    options = RunnerOptions(
        backend=backend,
        device=device,
        precision=precision,
        scale=scale,
        weights=path_of(weights),
        threads=threads,
        offline=offline,
        progress=progress,
        maps=maps,
        deterministic=deterministic,
    )
    given = {"exposure": exposure, "shadows": shadows, "tile": tile}
    decided = {name: None if isinstance(value, str) and value == "auto" else value for name, value in given.items()}
    settings = Settings(strength=strength, depth=depth, **decided)
    return Enhancer(open_runner(manifest.find(name), options), settings, scale)


def path_of(weights: Path | str | None) -> Path | None:
    """The file of a user's own weights; what is no path is an OptionError."""
    if weights is None:
        return None
    if not isinstance(weights, Path | str) or weights == "":
        raise OptionError(f"weights {weights!r} is no path.", "Give that of a .safetensors or .pt file, or None.")
    return Path(weights)


def stacked(pictures: Sequence[Picture]) -> NDArray:
    """(N, H, W, 3); one picture, which may be large, is not copied."""
    return pictures[0].pixels[None] if len(pictures) == 1 else np.stack([p.pixels for p in pictures])


def as_picture(source: Path | str | Image | NDArray[Any]) -> Picture:
    """Whatever a library user has, as a Picture."""
    if isinstance(source, Path | str) and source != "":
        try:
            return picture.load(Path(source))
        except PictureError as error:
            raise PictureError(f"{source}: {error.message}", error.hint) from error
    if isinstance(source, np.ndarray):
        return picture.from_array(source)
    from PIL.Image import Image as PillowImage

    if isinstance(source, PillowImage):
        return picture.from_pil(source)
    what = "'', the empty path," if source == "" else type(source).__name__
    raise PictureError(f"{what} is no picture.", "Give a path, a Pillow image or a NumPy array.")


def as_array(result: Picture) -> NDArray[Any]:
    """(H, W), (H, W, 3) or (H, W, 4) integers; grey with alpha becomes (H, W, 2)."""
    return picture.samples(result, result.bits, alpha=result.alpha is not None)
