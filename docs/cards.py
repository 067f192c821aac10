"""The pages on models: docs/models.md, and a card for every network in docs/models/.

Made from the manifest, from the papers' figures, from the docstrings of the networks, and from the figures that
`benchmarks/figures.py` measured. `docs/generate.py` writes them.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from measured import Document, figures, first_row, holds, measured, networks, overlaps, pair, stated

from lowlight_cli import manifest, models
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.report.document import INPUT
from lowlight_cli.report.figures import columns
from lowlight_cli.report.markdown import table

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Made by `python docs/generate.py`; edit the code instead. -->\n\n"
SETS = ("LOL", "synth", "DICM", "LIME", "MEF", "NPE")
"""Those that `benchmarks/figures.py` measures."""
BASELINE = "gamma"
SCENES = {"astronaut": "camera", "coffee": "night", "rocket": "night"}
"""scikit-image's photos in the strip of a card, and the presets that darken them."""
ORDER = ("psnr", "ssim", "psnr_gtmean")
"""Metrics of the table of all networks."""

TABLE = """\
Mean ± standard deviation, 8-bit RGB, plain unless said. "At GT mean" is after each output is brought to its truth's
mean: it hides errors of brightness, and many published figures are made so. [benchmark.md](benchmark.md) has the
classical methods beside these, and how to read them."""
CLASSICAL = """\
Baselines to measure networks against: no weights, nothing to fetch, one picture at a time on the CPU, at scale 1 in
float32. `--model` takes them like any other. Each looks at the whole picture and is never tiled; `--backend`,
`--device cuda`, `--weights` and `--exposure` mean nothing to them and are refused."""
GENERATIVE = {
    True: "Yes: it learns against a discriminator, which rewards what looks plausible. It may draw texture and colour "
    "that were never in front of the camera. Its output is an illustration, not evidence of anything.",
    False: "No: no discriminator taught it to draw what looks plausible. It is trained all the same, and estimates "
    "what a darker picture does not hold: its output is not evidence of detail that the source does not show.",
}
TRAINED = {
    "data": "Data",
    "recipe": "Recipe",
    "seed": "Seed",
    "commit": "Commit",
    "hardware": "Hardware",
    "hours": "Hours",
    "validation": "Validation",
    "note": "Note",
}
"""Keys of a row's `training` in the card's order; `command` has a block of its own, others follow."""


def words(value: object) -> str:
    """A value of the manifest in words: lists with commas, mappings as `name value`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(entry)}" for name, entry in value.items())
    return ", ".join(map(words, value)) if isinstance(value, list | tuple) else str(value)


def models_page() -> str:
    """docs/models.md."""
    sections = "\n".join(map(model_section, networks()))
    specs = [spec for spec in manifest.models().values() if spec.classical]
    return f"{NOTE}# Models\n\n{overview()}\n{sections}\n{classical_section(specs)}"


def overview() -> str:
    """All networks against their papers, with the command that measured them."""
    document = measured("LOL")
    heads = ["PSNR (dB)", "SSIM", "PSNR at GT mean (dB)", "the paper's PSNR / SSIM", "card"]
    rows = [overview_row(spec, document) for spec in networks()]
    n = f", n = {document['n']}" if document else ""
    lines = [f"## The networks on LOL eval15{n}\n", *table(["model", "parameters", "GFLOP / MP", *heads], rows)]
    lines += ["", TABLE, "", *elsewhere()]
    if document:
        lines += [*commands(document), *(f"- {text}" for text in overlaps(document, networks())), ""]
    return "\n".join(lines)


def overview_row(spec: ModelSpec, document: Document | None) -> list[str]:
    """One network in the table."""
    link = f"[card](models/{spec.name}.md)"
    paper = [f"{pair(row)}{'' if row['dataset'] == 'LOL' else ' on ' + row['dataset']}" for row in stated(spec)[:1]]
    if document is None or not holds(document, spec):
        why = "no weights" if spec.untrained else "not measured"
        return [f"`{spec.name}`", f"{spec.parameters:,}", "–", why, "–", "–", *(paper or ["–"]), link]
    entry = next(entry for entry in document["models"] if entry["model"] == spec.name)
    told = figures(document, spec.name)
    cost = entry.get("gflop_per_megapixel")
    shown = ["–" if cost is None else f"{cost:g}", *(told[name] for name in ORDER)]
    return [f"`{spec.name}`", f"{spec.parameters:,}", *shown, *(paper or ["–"]), link]


def elsewhere() -> Iterator[str]:
    """Networks whose papers state no figure on LOL, where ours were measured on what the papers took."""
    for spec in networks():
        row = next(iter(stated(spec)), None)
        document = measured(row["dataset"]) if row and row["dataset"] != "LOL" else None
        if document and holds(document, spec):
            told = figures(document, spec.name)
            ours = f"{told['psnr']} dB / {told['ssim']}"
            yield f"`{spec.name}` on {document['set']}, n = {document['n']}: {ours}; its paper: {pair(row)}.\n"


def commands(document: Document) -> list[str]:
    """The command of each run behind a set's figures, with date and version."""
    lines = []
    for run in document["runs"]:
        lines += [
            "```sh",
            textwrap.fill(run["command"], 110, break_on_hyphens=False).replace("\n", " \\\n  "),
            "```",
            "",
        ]
        lines += [f"lowlight {run['versions']['lowlight']}, {run['date'][:10]}, {run['machine']['processor']}.", ""]
    return lines


def model_section(spec: ModelSpec) -> str:
    """One network in short."""
    lines = [
        f"## {spec.name}\n",
        f"{spec.summary} [Its card](models/{spec.name}.md) tells the rest.\n",
        f"- Paper: {cited(spec)}",
        f"- Parameters: {spec.parameters:,}; {size(spec)}; licence {spec.licence}",
        *facts(spec),
        f"- Generative: {'yes' if spec.generative else 'no'}",
    ]
    return "\n".join(lines) + "\n"


def cited(spec: ModelSpec) -> str:
    """Authors, title, venue."""
    return f"{spec.paper['authors']}, *{spec.paper['title']}*, {spec.paper['venue']}"


def size(spec: ModelSpec) -> str:
    """Of all files together."""
    return "no weights yet" if spec.untrained else f"files: {sum(file.bytes for file in spec.files) / 1e6:.1f} MB"


def facts(spec: ModelSpec) -> list[str]:
    """What a user may ask of it."""
    return [
        f"- Scales: {', '.join(f'x{scale}' for scale in spec.scales)}; precisions: {', '.join(spec.precisions)}",
        f"- Target brightness (`--exposure`): {'yes' if spec.exposure else 'no'}; tiling: {spec.tiling}",
        f"- Shadows beside lights (`--shadows auto`): lifted by up to {spec.shadows:g}"
        if spec.shadows
        else "- Shadows beside lights: lifted on request (`--shadows 0.5`)",
    ]


def classical_section(specs: list[ModelSpec]) -> str:
    """All classical methods in one table."""
    titles = list(dict.fromkeys(name for spec in specs for figure in spec.figures for name in figure))
    rows = [
        [spec.name, spec.summary, cited(spec)]
        + [str(spec.figures[0].get(name, "")) if spec.figures else "" for name in titles]
        for spec in specs
    ]
    lines = ["## Classical methods\n", f"{CLASSICAL}\n", *table(["name", "method", "paper", *titles], rows)]
    return "\n".join(lines) + "\n"


def cards() -> dict[str, str]:
    """The text of every card by the name of its row."""
    return {spec.name: card(spec) for spec in networks()}


def card(spec: ModelSpec) -> str:
    """docs/models/NAME.md."""
    parts = {
        "": [spec.summary, "", *strip(spec)],
        "Facts": [f"- Parameters: {spec.parameters:,}", *facts(spec), f"- Licence: {spec.licence}"],
        "How to run it": [*usage(spec)],
        "What it does badly": [f"- {text}" for text in spec.limits]
        or ["Not written down yet: look before you use it."],
        "Is it generative?": [GENERATIVE[spec.generative]],
        "Figures": [*measurements(spec)],
        "Weights": [*weights(spec)],
        "Training": [*training(spec)],
        "The paper": [*paper(spec)],
    }
    sections = [f"## {head}\n\n" * bool(head) + "\n".join(lines).rstrip() for head, lines in parts.items()]
    return f"{NOTE}# {spec.name}\n\n" + "\n\n".join(sections) + "\n"


def strip(spec: ModelSpec) -> Iterator[str]:
    """The strip of pictures that `docs/strips.py` makes, if it is there."""
    if (HERE / "models" / f"{spec.name}.jpg").exists():
        yield f"![Three photos: darkened, by gamma, by {spec.name}, and as they were]({spec.name}.jpg)\n"
        yield (
            f"Left to right: a photo darkened as by `lowlight synth` ({', '.join(SCENES.values())}), `{BASELINE}`, "
            f"`{spec.name}`, and the photo itself. No model was trained on these photos. Made by `docs/strips.py`."
        )


def usage(spec: ModelSpec) -> Iterator[str]:
    """Commands that run it."""
    if spec.untrained:
        yield from ("There are no weights yet. [Train your own](../training.md), then give them by `--weights`.", "")
        source = f" --weights runs/{spec.name}/best.safetensors"
    else:
        source = ""
    yield "```sh"
    if spec.untrained:
        yield f"lowlight train --model {spec.name} --data LOL --out runs/{spec.name}"
    yield f"lowlight enhance photos/ --out bright/ --model {spec.name}{source}"
    if spec.exposure:
        yield f"lowlight enhance photos/ --out bright/ --model {spec.name}{source} --exposure 0.4"
    if 2 in spec.scales:
        yield f"lowlight enhance photos/ --out bright/ --model {spec.name}{source} --scale 2"
    yield "```"


def weights(spec: ModelSpec) -> Iterator[str]:
    """The files with their sizes and digests."""
    if spec.untrained:
        yield "None yet."
        return
    rows = [[f"`{file.path}`", file.role, f"{file.bytes:,}", f"`{file.sha256}`"] for file in spec.files]
    yield from table(["file", "role", "bytes", "sha256"], rows)
    yield from ("", "`lowlight models verify` hashes them again, with `--run` it runs them too.")


def training(spec: ModelSpec) -> Iterator[str]:
    """What it was trained on, how, by which command and on what."""
    told = {key: value for key, value in spec.training.items() if value not in (None, "", [], {})}
    if not told:
        yield "None yet."
        return
    heads = TRAINED | {key: key.capitalize() for key in told if key not in (*TRAINED, "command")}
    yield from (f"- {head}: {words(told[key])}" for key, head in heads.items() if key in told)
    if "command" in told:
        given = told["command"]
        yield from ("", "```text", *([given] if isinstance(given, str) else given), "```")
    yield f"\nThe recipe's settings and losses: [settings.md](../settings.md#{first_row(spec)})."


def paper(spec: ModelSpec) -> Iterator[str]:
    """Citation, what it states, and where the network differs from it, as its docstring tells."""
    yield f"{cited(spec)}.\n"
    for row in stated(spec):
        note = f" {row['note']}" if row["note"] else ""
        yield f"- It states {pair(row)} (PSNR / SSIM) on {row['dataset']} ({row['table']}).{note}"
    code = models.module(spec.arch)
    told = [part for part in inspect.cleandoc(code.__doc__).split("\n\n") if part.startswith("* ")]
    yield f"\nHow ours differs, from the top of [`{spec.arch}.py`](../../lowlight_cli/models/{spec.arch}.py):\n"
    for bullet in "\n".join(told).removeprefix("* ").split("\n* "):
        yield f"- {' '.join(bullet.split())}"


def measurements(spec: ModelSpec) -> Iterator[str]:
    """Every set that was measured with these weights, beside the input and the baseline; and those that were not."""
    missing = []
    for name in SETS:
        document = measured(name)
        if document is None or not holds(document, spec) or spec.untrained:
            missing.append(name)
            continue
        yield from set_figures(document, spec)
    if missing:
        yield f"Not measured{'' if spec.untrained else ' with these weights'}: {', '.join(missing)}."


def set_figures(document: Document, spec: ModelSpec) -> Iterator[str]:
    """The table of one set."""
    heads = [
        f"{column.title} {column.arrow}".strip() + f" ({column.unit})" * bool(column.unit)
        for column in columns(document)
    ]
    rows = [(name, figures(document, name)) for name in (INPUT, BASELINE, spec.name)]
    yield f"### {document['set']}, n = {document['n']}\n"
    yield from table(["model", *heads], [[f"`{name}`", *told.values()] for name, told in rows if told])
    entry = next(entry for entry in document["models"] if entry["model"] == spec.name)
    run = document["runs"][entry["run"]]
    repeat = f"lowlight benchmark --dataset {document['set']} --root DIR --model {spec.name}"
    where = f"{entry['backend']} on {entry['device']}"
    yield f"\n`{repeat}`; lowlight {run['versions']['lowlight']}, {where}, {run['date'][:10]}."
    yield from dict.fromkeys([*overlaps(document, [spec]), *document["notices"]])
    yield ""
