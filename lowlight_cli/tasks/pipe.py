"""Enhance one picture from memory: what `lowlight enhance` does with - for stdin or stdout."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from lowlight_cli import jobs as planning
from lowlight_cli import picture
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import OptionError, OutputExists, PictureError, reason_of
from lowlight_cli.inputs import gather
from lowlight_cli.jobs import Job, Layout
from lowlight_cli.picture import Picture
from lowlight_cli.picture.encoding import QUALITY
from lowlight_cli.tasks.enhance import EnhanceOptions, check_options, open_enhancer
from lowlight_cli.tasks.folders import make_folder
from lowlight_cli.tasks.results import Item, Result, as_lowlight_error


def plan(options: EnhanceOptions) -> Result:
    """What would be done: `planned` or `skipped`. A target or an option that cannot be is an error."""
    check_options(options)
    layout = options.layout
    if options.inputs != ("-",):
        _ = [*gather(options.inputs, layout.out)]  # says what is wrong with one that is not there
    result = Result(source=source_of(options), target=layout.out, status="planned")
    if str(layout.out) == "-":
        return result
    if layout.out.is_dir():
        raise OptionError(f"{layout.out} is a folder; a pipe has no name.", "Name the file to write, or -.")
    if layout.out.suffix.lower() not in picture.SUFFIXES:
        told = f"--out {layout.out} has not the suffix of a picture, and a pipe has no name for one in a folder."
        raise OptionError(
            told, f"Give a file name such as out.png; known kinds: {', '.join(sorted(picture.SUFFIXES))}."
        )
    planning.refuse_no_file(layout.out)
    planning.format_to_write(layout)
    if (there := planning.identity(layout.out)) and there == stdin_identity():
        raise OutputExists(f"{layout.out} is the input, and inputs are never written over.", "Choose another --out.")
    if not layout.out.exists() or layout.existing == "overwrite":
        return result
    if layout.existing == "skip":
        return Result(source=Path("-"), target=layout.out, status="skipped")
    raise OutputExists(f"{layout.out} exists already.", "Nothing was done. Use --skip-existing or --overwrite.")


def source_of(options: EnhanceOptions) -> Path:
    """The one input; - is stdin, and ./- a file."""
    source = Path(options.inputs[0])
    return source.absolute() if str(source) == "-" != options.inputs[0] else source


def stdin_identity() -> tuple[int, int] | None:
    """Device and number of the file behind stdin, None where there is none."""
    try:
        status = os.fstat(sys.stdin.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return status.st_dev, status.st_ino


def read(source: Path) -> bytes:
    """All of a file, or of stdin for -."""
    if str(source) != "-":
        return picture.read(source)
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise PictureError(f"stdin cannot be read: {reason_of(error)}.", "Give it a picture: < FILE.") from error


def run(data: bytes, options: EnhanceOptions) -> tuple[bytes | None, Result, Enhancer]:
    """The picture for stdout (None where it went to a file, or failed), its result, and what made it."""
    source = source_of(options)
    item = Item(Job(source, options.layout.out, source))
    encoded = None
    with open_enhancer(options) as enhancer:
        started = time.perf_counter()
        try:
            encoded = enhance(item, data, enhancer, options)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            item.error = as_lowlight_error(error)
        item.seconds = time.perf_counter() - started
    return encoded, item.result(), enhancer


def enhance(item: Item, data: bytes, enhancer: Enhancer, options: EnhanceOptions) -> bytes | None:
    """Decode, run, encode and, where a file is named, write. What is worth telling goes into `item`."""
    layout, stopwatch, depth = options.layout, options.stopwatch, options.settings.depth
    if not data and str(item.job.source) == "-":
        raise PictureError("Nothing came on stdin.", "Did the command before it fail?")
    with stopwatch.stage("decode"):
        source = picture.load(data, max_pixels=options.max_pixels)
    stopwatch.count("decode", source.height * source.width)
    result = enhancer.enhance([source])[0]
    item.size, item.tile = (result.height, result.width), enhancer.tile_choice.used
    item.exposure, item.shadows = enhancer.aimed[0], enhancer.lifted[0]
    item.development = source.development
    format = format_of(layout, source)
    with stopwatch.stage("encode"):
        encoded = picture.encode(result, format, quality=options.quality, depth=depth)
        lost = picture.losses(result, format, depth)
        item.notices = (*source.notices, *((f"{format} cannot hold: {', '.join(lost)}.",) if lost else ()))
        if options.quality is not None and format not in QUALITY:
            item.notices += (f"--quality is not used: {format} has none.",)
        if str(layout.out) != "-":
            make_folder(layout.out.parent, [item.job])
            picture.write(encoded, layout.out, overwrite=layout.existing == "overwrite")
            encoded = None
    stopwatch.count("encode", item.pixels)
    return encoded


def format_of(layout: Layout, source: Picture) -> str:
    """The format asked for by name or suffix, else the source's."""
    if str(layout.out) != "-":
        return planning.format_to_write(layout)
    kept = source.format if source.format in picture.SUFFIXES.values() else "png"
    return kept if layout.format == "keep" else layout.format
