"""The profile of a run: what a stopwatch took, as a document and as lines of text."""

from __future__ import annotations

from typing import Any

from lowlight_cli.cli.console import counted
from lowlight_cli.stopwatch import Stage, Stopwatch

TITLES = {
    "start": "start-up (Python, imports, finding files)",
    "open": "open (model and back end)",
    "wait_pipe": "wait for stdin and stdout",
    "decode": "decode (and read)",
    "wait_decode": "wait for a decoder",
    "resize": "resize (thumbnail and context network)",
    "network": "network",
    "blend": "blend (to float and back, planes, strength)",
    "maps": "maps",
    "encode": "encode (and write)",
    "wait_encode": "wait for a writer",
    "other": "other",
}
"""Stages in the order of a run."""

RATED = ("decode", "network", "encode")
"""Stages whose cost grows with the pixels."""

BOUNDS = {
    "network": (("network",), "The network bounds this run"),
    "decoding": (("decode", "wait_decode"), "Decoding bounds this run"),
    "encoding": (("encode", "wait_encode"), "Encoding bounds this run"),
    "waiting": (("wait_pipe",), "Waiting for stdin and stdout bounds this run"),
    "start-up": (("start", "open"), "Start-up and opening the model bound this run"),
    "resize": (("resize",), "The thumbnail and the context network bound this run"),
    "blend": (("blend",), "Work on pixels outside the network bounds this run"),
    "maps": (("maps",), "Maps bound this run"),
    "other": (("other",), "Nothing that was timed bounds this run"),
}
"""What can bound a run: the stages of the main thread that tell it, and the words for it."""

BESIDE = "* sums over threads that ran beside the rest: they may exceed the wall time. The other rows add up to it."


def profiled(stopwatch: Stopwatch) -> dict[str, Any]:
    """The document: seconds of the whole process until now, pictures that were decoded, and the stages."""
    wall, stages = stopwatch.wall, dict(stopwatch.stages)
    main = {name: stage.seconds for name, stage in stages.items() if not stage.beside}
    stages["other"] = Stage(seconds=max(0.0, wall - sum(main.values())))
    main["other"] = stages["other"].seconds
    shares = {name: sum(main.get(stage, 0.0) for stage in by) / wall for name, (by, _) in BOUNDS.items()}
    bound = max(shares, key=lambda name: shares[name])
    decoded = stages.get("decode", Stage())
    return {
        "seconds": round(wall, 4),
        "pictures": decoded.calls,
        "megapixels": decoded.pixels / 1e6,
        "megapixels_per_second": round(decoded.pixels / 1e6 / wall, 4),
        "bound": bound,
        "bound_share": round(shares[bound], 4),
        "stages": {name: figures(name, stages[name], wall) for name in TITLES if name in stages},
    }


def figures(name: str, stage: Stage, wall: float) -> dict[str, Any]:
    """One stage of the document."""
    rate = stage.seconds * 1e9 / stage.pixels if name in RATED and stage.pixels else None
    return {
        "seconds": round(stage.seconds, 4),
        "share": round(stage.seconds / wall, 4),
        "calls": stage.calls,
        "ms_per_megapixel": rate and round(rate, 3),
        "threads": stage.beside,
    }


def lines(profile: dict[str, Any]) -> list[str]:
    """The document as a table, and what bounds the run."""
    width = max(map(len, TITLES.values())) + 2
    rows = [f"{'stage':{width}}{'seconds':>9}{'share':>9}{'calls':>7}{'ms/megapixel':>14}"]
    for name, stage in profile["stages"].items():
        title = TITLES[name] + " *" * stage["threads"]
        rate = "" if stage["ms_per_megapixel"] is None else f"{stage['ms_per_megapixel']:.1f}"
        row = f"{title:{width}}{stage['seconds']:9.3f}{100 * stage['share']:7.1f} %{stage['calls'] or '':>7}{rate:>14}"
        rows.append(row.rstrip())
    if any(stage["threads"] for stage in profile["stages"].values()):
        rows.append(BESIDE)
    rows.append(
        f"{profile['seconds']:.2f} s, {counted(profile['pictures'], 'picture')}, "
        f"{profile['megapixels']:.1f} megapixels: {profile['megapixels_per_second']:.2f} megapixels/s"
    )
    rows.append(f"{BOUNDS[profile['bound']][1]}: {100 * profile['bound_share']:.0f} % of the wall time.")
    return rows
