"""Measure every model on every set at hand: the figures of the model cards and of the manifest.

    python benchmarks/figures.py --data data --synth synth     # all sets that are there
    python benchmarks/figures.py --data data --only LIME --model neid
    python benchmarks/figures.py --write                       # into weights_manifest.json

`--data` holds LOL and no_reference/{DICM,LIME,MEF,NPE}; `--synth` was made as the test of BA-GAN's paper, from photos
that no model was trained on: `lowlight synth PHOTOS --preset paper --crop 100 --count 1080 --out synth`.

A set is one run of `lowlight benchmark` in a folder of `--work`, and the same models with the same weights go on there
where they were stopped; remove the folder after a change of the code. `--results` gets SET.json, which also says with
which files each model was measured. With `--model` the figures of the others stay, if they were measured alike.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowlight_cli import atomic, manifest, models
from lowlight_cli.data import sets
from lowlight_cli.errors import NoInput
from lowlight_cli.report.document import INPUT, write_json
from lowlight_cli.report.figures import cells, columns

RESULTS = Path(__file__).resolve().parent / "results" / "figures"
FIDELITY = "psnr,ssim,psnr_gtmean,ssim_gtmean,ciede2000"
LOOKS = "brightness,clipped,cast,loe"
METRICS = {"LOL": FIDELITY, **dict.fromkeys(("DICM", "LIME", "MEF", "NPE"), LOOKS), "synth": FIDELITY}
"""The sets, and what is measured on each."""
BASELINE = "gamma"
"""Stands beside the networks where not all classical methods are measured."""
LINES = {"LOL": ("LOL eval15", None), "synth": ("synth paper", "ba_gan")}
"""The lines of a row's `figures`: from which set, its name there, and whose: an `arch`, or None for everybody's."""
IN_LINES = ("psnr", "ssim", "psnr_gtmean", "ssim_gtmean")
COMPARABLE = ("set", "split", "n", "protocol", "metrics", "made")
"""What must be equal for figures to stand in one file."""
PLACES = {"synth": "synth"}
"""How a command names the folder, where it is not `data`."""

Document = dict[str, Any]


def contestants(name: str) -> list[str]:
    """Every model on LOL, elsewhere the networks and one baseline; those without weights nowhere."""
    able = [spec for spec in manifest.models().values() if not spec.untrained]
    return [spec.name for spec in able if name == "LOL" or not spec.classical or spec.name == BASELINE]


def command(name: str, root: str, chosen: Sequence[str]) -> list[str]:
    """The words after `lowlight`."""
    named = [word for model in chosen for word in ("--model", model)]
    return ["benchmark", "--dataset", name, "--root", root, *named, "--metric", METRICS[name]]


def measure(name: str, root: Path, chosen: Sequence[str], work: Path) -> Document:
    """Run the benchmark and give its figures; a picture that fails ends it all."""
    how = {"made": made(root)} if name == "synth" else {}
    folder = work / f"{name}-{identity(chosen)}"
    words = [*command(name, str(root), chosen), "--results", str(folder), "--resume"]
    print(f"{name}: {len(chosen)} models", flush=True)
    code = subprocess.run([sys.executable, "-m", "lowlight_cli", *words], check=False).returncode
    if code:
        sys.exit(f"{name}: `lowlight benchmark` ended with exit code {code}. Nothing of it is kept; run it again.")
    found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    document = distilled(found, " ".join(["lowlight", *command(name, PLACES.get(name, "data"), chosen)]))
    return document | how


def identity(chosen: Sequence[str]) -> str:
    """Short for the models with all files of their weights."""
    told = {model: digests(map(vars, manifest.find(model).files)) for model in chosen}
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def made(root: Path) -> Document:
    """How a folder of `lowlight synth` was made, without its photos; other darkness than the paper's is refused."""
    told = read(root / "synth.json")
    if told["preset"] != "paper":
        sys.exit(f"{root} was made by --preset {told['preset']}: figures beside BA-GAN's paper need --preset paper.")
    if told["ranges"]:
        sys.exit(f"{root} was made with ranges of its own ({', '.join(told['ranges'])}): leave them out.")
    return {**told, "photos": len(told["photos"])}


def read(path: Path) -> Document:
    """A JSON file; one that is damaged ends it all."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{path} cannot be read: {error}.")


def distilled(found: Mapping[str, Any], words: str) -> Document:
    """The part of a benchmark's document that is worth keeping in a repository."""
    run = {"date": found["date"], "command": words, "versions": found["versions"], "machine": found["machine"]}
    told = ("title", "unit", "higher_is_better", "definition")
    return {
        "set": found["dataset"],
        **{name: found[name] for name in ("title", "split", "n", "protocol", "notices")},
        "metrics": {name: {key: about[key] for key in told} for name, about in found["metrics"].items()},
        "runs": [run],
        "models": [entry(model, found["dataset"]) for model in found["models"]],
    }


def entry(model: Mapping[str, Any], name: str) -> Document:
    """One model's figures and with which files they were measured."""
    keep = ("model", "kind", "parameters", "weights_sha256", "backend", "device", "precision", "overlap", "n")
    found = {**{key: model[key] for key in keep}, "run": 0, "files": {}}
    if model["kind"] == "network":
        spec = manifest.find(model["model"])
        found["files"] = digests(map(vars, spec.files))
        if model["weights_sha256"] not in found["files"].values():
            sys.exit(f"{spec.name} ran with weights {model['weights_sha256']}, which are not among its row's files.")
        if name == "LOL":
            found["gflop_per_megapixel"] = models.gflop_per_megapixel(spec)
    scores = {name: about and {key: figure(about[key]) for key in about} for name, about in model["metrics"].items()}
    return {**found, "metrics": scores}


def figure(value: Any) -> Any:
    """A number without digits that mean nothing."""
    return round(value, 6) if isinstance(value, float) else value


def digests(files: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """sha256 by role, of a row's `files`."""
    return {file["role"]: file["sha256"] for file in files}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Document:
    """The old figures with those of the new run's models in place of their own."""
    if differ := [name for name in COMPARABLE if old.get(name) != new.get(name)]:
        sys.exit(f"{old['set']}: {', '.join(differ)} differ from the kept figures'. Measure the whole set again.")
    redone = {model["model"]: model for model in new["models"] if model["model"] != INPUT}
    first = len(old["runs"])
    found = {model["model"]: model for model in old["models"]}
    found |= {name: {**model, "run": first + model["run"]} for name, model in redone.items()}
    runs = [*old["runs"], *new["runs"]]
    used = sorted({model["run"] for model in found.values()})
    order = {name: place for place, name in enumerate([INPUT, *manifest.models()])}
    return {
        **new,
        "runs": [runs[run] for run in used],
        "models": [
            {**model, "run": used.index(model["run"])}
            for model in sorted(found.values(), key=lambda model: order.get(model["model"], len(order)))
        ],
    }


def before(results: Path, name: str, *, part: bool) -> Document | None:
    """What is kept of a set, for a part of it; asked before the work, so that trouble comes first."""
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"{results} cannot be written: {error}.")
    path = results / f"{name}.json"
    return read(path) if part and path.exists() else None


def keep(document: Document, results: Path, old: Document | None) -> None:
    """Write SET.json; with `old` figures the new ones take their places among these."""
    write_json(merged(old, document) if old else document, results / f"{document['set']}.json")


def write(results: Path, path: Path) -> None:
    """Put the lines of `LINES` into the rows of the manifest; figures of other weights than a row's are left out."""
    table = json.loads(path.read_text(encoding="utf-8"))
    for name, (label, arch) in LINES.items():
        if not (source := results / f"{name}.json").exists():
            print(f"{name}: not measured, nothing is written")
            continue
        document = read(source)
        for model in document["models"]:
            row = table["models"].get(model["model"])
            if row is None or arch not in (None, row["arch"]):
                continue
            if digests(row["files"]) != model["files"]:
                print(f"{model['model']}: {name} was measured with other weights; its row is left as it is")
                continue
            line = {"set": label, "n": model["n"], **texts(document, model["model"]), "command": shown(name, model)}
            row["figures"] = placed(row["figures"], line)
    atomic.write(path, (json.dumps(table, indent=2) + "\n").encode("ascii"))


def texts(document: Mapping[str, Any], model: str) -> dict[str, str]:
    """Mean ± standard deviation by the title of the metric."""
    place = [told["model"] for told in document["models"]].index(model)
    by_name = {column.name: column for column in columns(document)}
    return {by_name[name].title: cells(document, by_name[name])[place].text for name in IN_LINES}


def shown(name: str, model: Mapping[str, Any]) -> str:
    """The command that repeats one line, with the metrics that a set with truths has by itself."""
    return f"lowlight benchmark --dataset {name} --root {PLACES.get(name, name)} --model {model['model']}"


def placed(lines: Sequence[Document], line: Document) -> list[Document]:
    """The lines with this one in place of that of its set, else at the end."""
    names = [old["set"] for old in lines]
    if line["set"] not in names:
        return [*lines, line]
    return [line if name == line["set"] else old for name, old in zip(names, lines, strict=True)]


def roots(args: argparse.Namespace) -> dict[str, Path]:
    """The folder of every set that is asked for; one that is not at hand is told, one that `--only` names must be."""
    found = {}
    for name in args.only or METRICS:
        root = args.synth if name == "synth" else args.data
        try:
            if root is None:
                raise NoInput(f"no folder is given for {name}.", "")
            sets.find(name, root)
            found[name] = root
        except NoInput as error:
            if args.only:
                sys.exit(f"{name}: {error.message}")
            print(f"{name} is left out: {error.message}")
    return found or sys.exit("No set is at hand.")


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is asked for; then write it into the manifest, if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds LOL and no_reference")
    parser.add_argument("--synth", type=Path, help="folder made by lowlight synth --preset paper")
    parser.add_argument("--only", action="append", choices=[*METRICS], metavar="SET")
    parser.add_argument("--model", action="append", choices=contestants("LOL"), metavar="NAME")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path("runs/figures"), help="pictures and rows, to go on from")
    parser.add_argument("--write", action="store_true", help="put the figures into weights_manifest.json")
    args = parser.parse_args(words)
    if not (args.data or args.synth or args.write):
        parser.error("nothing to do: give --data, --synth or --write")
    for name, root in roots(args).items() if args.data or args.synth else ():
        old = before(args.results, name, part=bool(args.model))
        keep(measure(name, root, args.model or contestants(name), args.work), args.results, old)
    if args.write:
        write(args.results, manifest.manifest_path())


if __name__ == "__main__":
    main()
