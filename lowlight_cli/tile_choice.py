"""How large batches and the tiles of their pictures are: as asked for, or as memory allows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from lowlight_cli import memory, tiles
from lowlight_cli.errors import OutOfMemory, ran_out_of_memory
from lowlight_cli.runners import Abreast, Landing, Runner
from lowlight_cli.tiles import TilePlan

T = TypeVar("T")

BUDGET = 1_000_000_000
"""Most bytes of working memory that `auto` gives to one run on the CPU: larger tiles are hardly faster."""
FRESH = 32_000_000
"""Bytes of an array from which on its memory is new each time, as glibc gives it back at once: that costs a thin
network as much as its work. Tiles stay below where that computes little twice."""
LANE = (150_000, 2_200_000)
"""Least and most pixels of tiles that run side by side. Smaller pictures are one tile: threads would take longer to
begin than they save."""
SHARE = 12
"""Bytes besides for each pixel of the picture, where its halos cost too much otherwise."""
TOO_MUCH = (0.1, 0.5)
"""Share of a picture that is computed twice for the sake of memory, from which on there is that, and then twice as
much."""
BACK_OFFS = 5
BATCH_PIXELS = 250_000
"""A batch of small pictures on a CPU holds at most this many pixels when its size is chosen automatically: larger ones
are no faster there, and take more memory."""
CUDA_BATCH_PIXELS = 16_000_000
MOST_IN_BATCH = 8


class TileChoice:
    """Chooses the tiles of a runner's pictures. `tile` is the side that was asked for (0: never, None: by the memory),
    or what memory allowed since."""

    def __init__(self, runner: Runner, tile: int | None) -> None:
        self.runner, self.tile = runner, tile
        self.fixed = tile == 0 or runner.spec.tiling == "whole" or runner.deterministic
        """Whether memory that does not suffice is an error at once: smaller tiles are not allowed, or of no use."""
        self.plan: TilePlan | None = None
        """What the last pictures or maps were cut into."""

    @property
    def used(self) -> int:
        """Most side of the tiles' cores that the last pictures or maps were cut into; 0: they were not."""
        side = self.plan.side if self.plan else 0
        return side and (self.tile or side)

    def within_memory(self, shape: Sequence[int], run: Callable[[TilePlan], T], scale: int = 1) -> T:
        """What `run` gives for tiles of (N, H, W, 3); for smaller and smaller ones while memory does not suffice."""
        attempts = BACK_OFFS
        while True:
            plan = self.choose(shape, scale)
            try:
                result = run(plan)
            except Exception as error:
                if not isinstance(error, OutOfMemory) and not ran_out_of_memory(error):
                    raise
                smaller = (plan.side or max(shape[1:3])) // 2
                if self.fixed or not attempts or smaller < tiles.SMALLEST_CORE:
                    raise
                self.tile, attempts = smaller, attempts - 1
            else:
                self.plan = plan
                return result

    def choose(self, shape: Sequence[int], scale: int = 1) -> TilePlan:
        """The tiles of a batch (N, H, W, 3) for an output of `scale` times its size."""
        spec, (count, height, width) = self.runner.spec, shape[:3]
        facts = {"halo": math.ceil(spec.halo / scale), "multiple": spec.multiple}
        tile = 0 if spec.tiling == "whole" else self.tile
        if tile is not None:
            return tiles.plan(height, width, tile=0 if tile >= max(height, width) else tile, **facts)
        count *= math.prod(max(1.0, spec.smallest / side) for side in (height, width))  # thin pictures are filled up
        if plan := self.abreast(count, height, width, facts, scale):
            return plan
        more = BUDGET + SHARE * count * height * width
        recycled = FRESH / (3 * 4 * scale**2 * count) if self.runner.device == "cpu" else math.inf
        for most, largest, enough in (
            (BUDGET, recycled, TOO_MUCH[0]),
            (BUDGET, math.inf, TOO_MUCH[0]),
            (more, math.inf, TOO_MUCH[1]),
            (BUDGET + more, math.inf, math.inf),
        ):
            pixels = min(largest, self.budget(most) / (spec.bytes_per_pixel * scale**2 * count))
            plan = tiles.fitting(height, width, pixels=pixels, **facts)
            if plan and plan.read <= (1 + enough) * height * width:
                break
        return plan or tiles.plan(height, width, tile=tiles.SMALLEST_CORE, **facts)

    def abreast(self, count: float, height: int, width: int, facts: Mapping[str, int], scale: int) -> TilePlan | None:
        """Tiles that are run side by side, as many at once as the runner has lanes, or half of that: the quickest of a
        few plans, as lanes that wait for the last tile are lost.

        None: the runner has no lanes, the picture is small, or halos would cost too much.
        """
        lanes = self.runner.lanes if isinstance(self.runner, Abreast) else 1
        least, most = (side / count for side in LANE)
        enough = (1 + TOO_MUCH[0]) * height * width
        for at_once in (n for n in (lanes, lanes // 2) if n > 1):
            room = self.budget(BUDGET) / (self.runner.spec.bytes_per_pixel * scale**2 * at_once)
            rounds = math.ceil(enough / (at_once * max(1, min(most, room))))
            parts = (enough / (at_once * n) for n in range(rounds, rounds + 3))
            plans = [tiles.fitting(height, width, pixels=part, **facts) for part in parts if part >= least]
            if quick := [plan for plan in plans if plan and plan.read <= enough]:
                best = min(quick, key=lambda plan: math.ceil(len(plan) / at_once) * math.prod(next(iter(plan)).size))
                return dataclasses.replace(best, at_once=at_once)
        return None

    def budget(self, most: int) -> float:
        """Bytes for the network's working memory; `most` on the CPU."""
        if self.runner.deterministic:
            return most
        if isinstance(self.runner, Landing):
            return 0.5 * self.runner.room()  # PyTorch takes half as much again as ONNX Runtime, whose use the rows tell
        if self.runner.device.startswith("cuda"):
            return 2 * most
        return min(most, 0.5 * memory.available())


def batch_limit(device: str, height: int, width: int) -> int:
    """How many pictures of this size go into one batch when nobody says."""
    room = CUDA_BATCH_PIXELS if device.startswith("cuda") else BATCH_PIXELS
    return max(1, min(MOST_IN_BATCH, room // (height * width)))
