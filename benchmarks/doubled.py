"""Whether doubling cleans as much as enhancing at the picture's own size: outputs of both beside the truths.

python benchmarks/doubled.py --pairs LOL=LOL/our485 --scenes LOL/scenes.json --names benchmarks/held-out.txt \
    --model neid --model neid-lol --weights before=OLD.safetensors --out benchmarks/results

Each model is told the brightness of each truth. PSNR in dB, outputs as written to 8-bit files, mean over the pictures:
x1 beside the truth; x2, halved again, beside the truth; x2, and x1 doubled, beside the truth doubled. Bicubic both
ways (`nn.resample`). A doubled truth is smooth: it cannot tell detail that x2 adds from what it leaves of the noise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import machine
import numpy as np
import torch
from numpy.typing import NDArray
from tables import table
from torch import Tensor

import lowlight_cli as lowlight
from lowlight_cli.choices import EXPOSURES
from lowlight_cli.data.pairs import eight_bit, matched
from lowlight_cli.data.scenes import grouped, read_scenes
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.metrics.fidelity import mean_luma, psnr
from lowlight_cli.nn.resample import double, halve

COLUMNS = ("x1", "x2, halved", "x2, truth doubled", "x1 doubled, truth doubled")
Pixels = NDArray[np.uint8]
Pair = tuple[Pixels, Pixels]


def pairs_of(folder: Path, scenes: Path | None, names: Path | None) -> Iterator[Pair]:
    """(dark, true) of the pairs in a folder, of even sides; with names only those, and others of their scenes."""
    found = matched(folder / "low", folder / "high")
    groups = grouped([name for name, *_ in found], read_scenes(scenes)) if scenes else [[n] for n in range(len(found))]
    wanted = set(names.read_text(encoding="utf-8").split()) if names else {name for name, *_ in found}
    for number in sorted(n for group in groups if wanted & {found[m][0] for m in group} for n in group):
        dark, true = (eight_bit(path) for path in found[number][1:])
        height, width = (side // 2 * 2 for side in dark.shape[:2])
        yield dark[:height, :width], true[:height, :width]


def resized(pixels: Pixels, how: Callable[[Tensor], Tensor]) -> Pixels:
    """Halved or doubled, as a file would hold it."""
    values = how(torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255)))
    return (values[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).round().astype(np.uint8)


def scores(once: Enhancer, twice: Enhancer, pair: Pair) -> tuple[float, ...]:
    """The `COLUMNS` of one picture."""
    dark, true = pair
    level = float(np.clip(mean_luma(true) / 255, *EXPOSURES))
    for model in (once, twice):
        model.aim(level)
    one, two, large = once(dark), twice(dark), resized(true, double)
    return psnr(one, true), psnr(resized(two, halve), true), psnr(two, large), psnr(resized(one, double), large)


def measured(model: str, weights: str | None, pairs: list[Pair]) -> list[float]:
    """Means over the pairs."""
    options = {"weights": weights, "backend": "torch"} if weights else {}
    with contextlib.ExitStack() as stack:
        once, twice = (
            stack.enter_context(lowlight.open_model(model, scale=scale, device="cpu", shadows=0, **options))
            for scale in (1, 2)
        )
        return np.mean([scores(once, twice, pair) for pair in pairs], axis=0).tolist()


def page(result: dict) -> str:
    """The table in Markdown."""
    rows = ((row["set"], row["weights"], *(f"{value:.2f}" for value in row["psnr"].values())) for row in result["rows"])
    return f"# At twice the size\n\nPSNR in dB.\n\n`{result['command']}`\n\n" + table(
        ("set", "weights", *COLUMNS), rows
    )


def main() -> None:
    """Measure, and write doubled.json and doubled.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", action="append", required=True, metavar="NAME=DIR", help="folder with low and high")
    parser.add_argument("--scenes", type=Path, help="scenes of the first of them")
    parser.add_argument("--names", type=Path, help="pairs of the first of them to use, with those of their scenes")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="of a neid of your own")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    own = dict(text.split("=", 1) for text in args.weights)
    rows = []
    for number, (name, folder) in enumerate(text.split("=", 1) for text in args.pairs):
        pairs = list(pairs_of(Path(folder), *((args.scenes, args.names) if number == 0 else (None, None))))
        for label in (*own, *args.model):
            found = measured(label if label in args.model else "neid", own.get(label), pairs)
            rows.append(
                {"set": name, "n": len(pairs), "weights": label, "psnr": dict(zip(COLUMNS, found, strict=True))}
            )
            print(rows[-1], flush=True)
    told = [f"--pairs {text.split('=', 1)[0]}=DIR" for text in args.pairs]
    told += ["--scenes FILE"] * bool(args.scenes) + ["--names FILE"] * bool(args.names)
    told += [shlex.join(["--weights", f"{name}=FILE"]) for name in own] + [f"--model {name}" for name in args.model]
    command = f"python benchmarks/doubled.py {' '.join(told)} --out DIR"
    result = {"command": command, "machine": machine.about({}), "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "doubled.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "doubled.md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()
