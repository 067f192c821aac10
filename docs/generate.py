"""Write docs/cli.md from --help, docs/models.md from the manifest, docs/metrics.md from the tables of metrics and sets.

A test fails when one is stale.

python docs/generate.py
"""

from __future__ import annotations

from pathlib import Path

import click

from lowlight_cli import manifest
from lowlight_cli.cli import COMMANDS, group
from lowlight_cli.data.catalog import SETS, DataSet
from lowlight_cli.metrics import METRICS

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Made by `python docs/generate.py`; edit the code instead. -->\n\n"
CLASSICAL = """\
Baselines to measure networks against: no weights, nothing to fetch, one picture at a time on the CPU, at scale 1 in
float32. `--model` takes them like any other. Each looks at the whole picture and is never tiled; `--backend`,
`--device cuda`, `--weights` and `--exposure` mean nothing to them and are refused."""

SETS_TEXT = """\
## Data sets

`--root` (or `LOWLIGHT_DATA`) names the folder of one set, or one that holds several under their usual names. The
layouts of the published archives and of the repositories most used with them are known. Low and normal pictures are
paired by name, strictly; another number of pictures than was published is told. Only LOL can be fetched
(`--download`): its archive stays in the Hub's cache."""


def help_of(command: click.Command, path: str, parent: click.Context | None = None) -> list[tuple[str, str]]:
    """(name, help) of a command and all below it, at a fixed width."""
    width = {"terminal_width": 100, "max_content_width": 100}
    context = command.make_context(path, [], parent=parent, resilient_parsing=True, **width)
    pages = [(path if parent is None else f"{parent.command_path} {path}", command.get_help(context))]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            pages += help_of(command.get_command(context, name), name, context)
    return pages


def cli_page() -> str:
    """docs/cli.md."""
    pages = help_of(group, "lowlight")
    body = "\n".join(f"## {name}\n\n```text\n{text}\n```\n" for name, text in pages)
    return f"{NOTE}# The command line\n\n{body}"


def models_page() -> str:
    """docs/models.md."""
    specs = manifest.models().values()
    networks = "\n".join(model_section(spec) for spec in specs if not spec.classical)
    return f"{NOTE}# Models\n\n{networks}\n{classical_section([spec for spec in specs if spec.classical])}"


def model_section(spec: manifest.ModelSpec) -> str:
    """One row of the manifest in words."""
    paper, training = spec.paper, spec.training
    size = sum(file.bytes for file in spec.files) / 1e6
    lines = [
        f"## {spec.name}\n",
        f"{spec.summary}\n",
        f"- Paper: {paper['authors']}, *{paper['title']}*, {paper['venue']}",
        f"- Parameters: {spec.parameters:,}; files: {size:.1f} MB, licence {spec.licence}",
        f"- Scales: {', '.join(f'x{scale}' for scale in spec.scales)}; precisions: {', '.join(spec.precisions)}",
        f"- Target brightness (`--exposure`): {'yes' if spec.exposure else 'no'}; tiling: {spec.tiling}",
        f"- Generative: {'yes' if spec.generative else 'no'}",
        *(f"- Training {name}: {value}" for name, value in training.items()),
    ]
    if spec.figures:
        columns = list(spec.figures[0])
        lines += ["", *table(columns, [[str(figure[c]) for c in columns] for figure in spec.figures])]
    return "\n".join(lines) + "\n"


def classical_section(specs: list[manifest.ModelSpec]) -> str:
    """All classical methods in one table."""
    figures = list(dict.fromkeys(name for spec in specs for figure in spec.figures for name in figure))
    rows = [
        [spec.name, spec.summary, f"{spec.paper['authors']}, *{spec.paper['title']}*, {spec.paper['venue']}"]
        + [str(spec.figures[0].get(name, "")) if spec.figures else "" for name in figures]
        for spec in specs
    ]
    lines = ["## Classical methods\n", f"{CLASSICAL}\n", *table(["name", "method", "paper", *figures], rows)]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """docs/metrics.md."""
    better = {True: "higher", False: "lower", None: "zero"}
    rows = [
        [f"`{m.name}`", m.label, m.unit or "-", better[m.higher_is_better], m.definition[:1].upper() + m.definition[1:]]
        for m in METRICS.values()
    ]
    metrics = table(["name", "title", "unit", "better", "definition"], rows)
    sets = table(["name", "what", "pictures", "truth", "paper"], [set_row(data) for data in SETS.values()])
    return "\n".join([f"{NOTE}# Metrics and data sets", "", *metrics, "", SETS_TEXT, "", *sets, ""])


def set_row(data: DataSet) -> list[str]:
    """One data set in words."""
    counts = ", ".join(
        f"{split}: {' or '.join(map(str, about.counts))}" for split, about in data.splits.items() if about.counts
    )
    return [
        f"`{data.name}`",
        f"{data.title}. {data.note}".strip(),
        counts or "-",
        "yes" if data.truth else "no",
        data.paper,
    ]


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    return [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (columns, ["---"] * len(columns), *rows)
    ]


def main() -> None:
    """Write all."""
    (HERE / "metrics.md").write_text(metrics_page(), encoding="utf-8")
    (HERE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (HERE / "models.md").write_text(models_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
    print(f"wrote cli.md, models.md and metrics.md for {', '.join(COMMANDS)}")
