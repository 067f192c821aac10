"""Write docs/cli.md from --help and docs/models.md from the manifest. A test fails when either is stale.

python docs/generate.py
"""

from __future__ import annotations

from pathlib import Path

import click

from lowlight_cli import manifest
from lowlight_cli.cli import COMMANDS, group

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Made by `python docs/generate.py`; edit the code instead. -->\n\n"


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
    return f"{NOTE}# Models\n\n" + "\n".join(model_section(spec) for spec in manifest.models().values())


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
        rows = [columns, ["---"] * len(columns), *([str(figure[c]) for c in columns] for figure in spec.figures)]
        lines += ["", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both."""
    (HERE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (HERE / "models.md").write_text(models_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
    print(f"wrote cli.md and models.md for {', '.join(COMMANDS)}")
