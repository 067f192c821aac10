"""What is fuzzed: each target is a function of bytes in a folder of its own, and raises nothing but LowlightError."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fuzz_logs import read_log

MAX_PIXELS = 1_000_000
NETWORKS = ("aux_retinex", "ba_gan", "drs_cyclegan", "ema_cyclegan", "neid")
PACKED = 1 << 22
"""Bytes that an archive may unpack to, here."""


class Wrong(Exception):
    """Something was accepted that breaks a promise."""


class Starved(Exception):
    """Memory ran out under the fence of the process."""


def load_picture(data: bytes, folder: Path) -> None:
    """Read it; of some, chosen by their bytes, count the pixels of a file, and write what was read in its format."""
    from lowlight_cli import picture
    from lowlight_cli.errors import PictureError

    chosen = zlib.crc32(data) % 16
    if chosen == 0:
        path = folder / "x"
        path.write_bytes(data)
        picture.pixel_count(path)
    try:
        found = picture.load(path if chosen == 0 else data, max_pixels=MAX_PIXELS)
    except PictureError as error:
        if "fit into memory" in error.message:
            raise Starved(error.message) from error
        if not error.message.isprintable():
            raise Wrong(f"unprintable: {error.message!r}") from error
        return
    shape = (found.height, found.width)
    if found.height * found.width > MAX_PIXELS or found.pixels.shape != (*shape, 3):
        raise Wrong(f"pixels {found.pixels.shape}")
    if str(found.pixels.dtype) not in ("uint8", "uint16") or (found.alpha is not None and found.alpha.shape != shape):
        raise Wrong(f"{found.pixels.dtype}, alpha {getattr(found.alpha, 'shape', None)}")
    if sum(shape) <= 400 and chosen < 4:
        written(found, shape)


def written(found: Any, shape: tuple[int, int]) -> None:
    """What was read must be writable in its format, and readable again."""
    from lowlight_cli import picture

    again = picture.load(picture.encode(found, found.format))
    if (again.height, again.width) != shape:
        raise Wrong(f"{shape} became {again.height, again.width}")


def read_manifest(data: bytes, _: Path) -> None:
    """All rows, what is computed of them, and where their files would lie."""
    from lowlight_cli import manifest

    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return
    for name, row in table.items() if isinstance(table, dict) else ():
        if name == "assets":
            read_assets(row)
            continue
        spec = manifest.spec_from_row(name, row)
        judge_spec(spec)


def read_assets(rows: Any) -> None:
    """As `assets.assets` reads them."""
    from lowlight_cli import assets

    for name, row in rows.items() if isinstance(rows, dict) else ():
        judge_file(assets.asset_from_row(name, row).file)


def judge_spec(spec: Any) -> None:
    """Use every field as the package does."""
    from lowlight_cli import hub, weights
    from lowlight_cli.tasks import selftest

    spec.graphs(), spec.classical, spec.untrained, str(spec), hash(spec.name)
    for file in spec.files:
        judge_file(file)
        hub.remedy(spec, file)
    for role in ("torch", *(f"onnx-{graph}" for graph in spec.graphs())):
        if found := weights.present(spec, role):
            inside(found)
    for scale, expected in spec.check.items():
        trial = selftest.Trial(model=spec.name, backend="onnx", scale=1, found=[0.5] * 16, expected=expected)
        str((scale, trial.problem, trial.as_row()))
    if spec.multiple * spec.bytes_per_pixel * (spec.halo + 1) < 1 or max(spec.scales) > 16:
        raise Wrong("geometry")


def judge_file(file: Any) -> None:
    """Every place that a file may be read from or written to lies in the package, our home, or the cache."""
    from lowlight_cli import hub, weights

    inside(weights.bundled_path(file))
    inside(weights.store_path(file))
    if cached := hub.cached_path(file):
        inside(cached)


def inside(path: Path) -> None:
    """The path must be below one of our folders."""
    from lowlight_cli import hub, manifest, weights

    real = Path(os.path.normpath(path))
    if not any(
        real.is_relative_to(base) and real != base
        for base in (manifest.PACKAGE / "bundled", weights.home(), hub.cache())
    ):
        raise Wrong(f"outside: {path}")


def load_weights(data: bytes, folder: Path) -> None:
    """A file given to --weights, up to the loaded network."""
    from lowlight_cli import manifest, models, weights_metadata
    from lowlight_cli.runners.own_weights import with_weights

    path = folder / ("x.pt" if data.startswith((b"PK", b"\x80")) else "x.safetensors")
    path.write_bytes(data)
    origin = weights_metadata.read(path)
    rows = [row for row in manifest.models().values() if not row.classical]
    spec = next((row for row in rows if origin and row.arch == origin.arch), rows[0])
    spec = with_weights(spec, path)
    network = models.load(spec, path)
    if sum(p.numel() for p in network.parameters()) > len(data):
        raise Wrong("more parameters than bytes")


def default_settings(arch: str) -> Any:
    """What the network's paper asks for."""
    from lowlight_cli import models
    from lowlight_cli.training.settings import Settings

    return Settings(**models.module(arch).DEFAULTS)


def read_config(data: bytes, folder: Path) -> None:
    """Settings for --config, or a word for --set; then the network they ask for, without memory."""
    import torch

    from lowlight_cli import models
    from lowlight_cli.cli.train import setting
    from lowlight_cli.tasks import train_plan, train_record

    head, _, body = data.partition(b"\n")
    arch = head.decode("latin-1").removeprefix("#")
    if arch == "set":
        name, value = setting(body.decode("utf-8", "replace"))
        settings, arch = default_settings("neid").override({name: value}), "neid"
    elif arch in NETWORKS:
        path = folder / "config.yaml"
        path.write_bytes(body)
        options = train_plan.TrainOptions(model=arch.replace("_", "-"), out=folder / "run", config=path)
        settings = train_plan.resolve(options).settings
    else:
        return
    module = models.module(arch)
    train_plan.checked_geometry(module, settings)
    with torch.device("meta"):
        train_plan.built(module.build, settings)
    json.dumps({name: train_record.plain(value) for name, value in vars(settings).items()})


def unpack_archive(data: bytes, folder: Path) -> None:
    """Unpack it; what comes out is plain, small enough, and in the folder; what fails leaves nothing."""
    from lowlight_cli.data import archive
    from lowlight_cli.errors import LowlightError

    path, target = folder / "x.zip", folder / "out" / "set"
    path.write_bytes(data)
    try:
        archive.unpack(path, target, max_files=50, max_bytes=PACKED)
    except LowlightError:
        if target.parent.exists() and any(target.parent.iterdir()):
            raise Wrong("a refused archive left something") from None
        raise
    found = [*target.rglob("*")]
    if any(one.is_symlink() or not (one.is_file() or one.is_dir()) for one in found):
        raise Wrong("no plain file")
    if sum(one.stat().st_size for one in found if one.is_file()) > PACKED:
        raise Wrong("too many bytes")


def emptied(folder: Path) -> None:
    """Nothing left of the last run."""
    for entry in os.scandir(folder):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)  # noqa: PTH108


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader, what of the package and beneath it is watched for coverage, and the memory it may take."""

    run: Callable[[bytes, Path], None]
    instrument: tuple[str, ...]
    imports: tuple[str, ...]
    fixed: int
    """Bytes that any input may take."""
    per_byte: int = 4
    """Bytes for each of the file's."""
    per_pixel: int = 0
    """Bytes for each pixel that may be read."""

    def allowed(self, size: int) -> int:
        """Most bytes that reading a file of `size` bytes may take."""
        return self.fixed + self.per_byte * size + self.per_pixel * MAX_PIXELS


PILLOW = tuple(f"PIL.{name}ImagePlugin" for name in ("Jpeg", "Mpo", "Png", "WebP", "Tiff", "Bmp", "Avif", "Ppm"))
MIB = 1 << 20
TARGETS: Mapping[str, Target] = {
    "picture": Target(
        load_picture, ("lowlight_cli", "PIL"), ("PIL.ImageCms", *PILLOW, "cv2", "lowlight_cli.picture"), 96 * MIB, 4, 32
    ),
    "manifest": Target(
        read_manifest, ("lowlight_cli",), ("lowlight_cli.assets", "lowlight_cli.tasks.selftest"), 16 * MIB, 50
    ),
    "safetensors": Target(
        load_weights,
        ("lowlight_cli",),
        (
            "torch",
            "safetensors.torch",
            "lowlight_cli.models",
            *(f"lowlight_cli.models.{n}" for n in NETWORKS),
            "lowlight_cli.runners.own_weights",
        ),
        64 * MIB,
        50,
    ),
    "config": Target(
        read_config,
        ("lowlight_cli", "yaml"),
        (
            "torch",
            "yaml",
            "lowlight_cli.tasks.train",
            "lowlight_cli.cli.train",
            *(f"lowlight_cli.models.{n}" for n in NETWORKS),
        ),
        64 * MIB,
        500,
    ),
    "log": Target(
        read_log,
        ("lowlight_cli",),
        (
            "torch",
            "yaml",
            "lowlight_cli.evidence",
            "lowlight_cli.tasks.report",
            "lowlight_cli.tasks.synth_records",
            "lowlight_cli.tasks.train_record",
            "lowlight_cli.tasks.benchmark_rows",
            "lowlight_cli.data.cache",
            "lowlight_cli.data.scenes",
        ),
        32 * MIB,
        500,
    ),
    "archive": Target(unpack_archive, ("lowlight_cli", "zipfile"), ("lowlight_cli.data.archive",), 32 * MIB, 50),
}
