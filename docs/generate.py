"""Write docs/cli.md from --help, docs/metrics.md from the tables of metrics and sets, docs/settings.md from the
settings of training and the networks' files, docs/models.md and the cards in docs/models/ by `cards.py`.

A test fails when one is stale.

python docs/generate.py
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import cards
import click
import measured
from cards import NOTE
from measured import first_row

from lowlight_cli import models
from lowlight_cli.cli import group
from lowlight_cli.data.catalog import SETS, DataSet
from lowlight_cli.metrics import METRICS
from lowlight_cli.report.markdown import table
from lowlight_cli.training import settings as training_settings
from lowlight_cli.training.settings import Settings

HERE = Path(__file__).resolve().parent

NOTES = {
    "lowlight enhance": """\
`--json` prints a line for each file, with every field always there, and a summary as the last line. Among the fields:

- `status`: `done`, `failed`, `skipped` or `planned`; `error` and `hint` say why a file failed, `notices` what else is
  to be known of it.
- `exposure`: the brightness that the model was to reach, about (mean luma, 0 to 1): the one asked for, or the one that
  `auto` chose for this picture; before `--strength`. null for models that take none.
- `shadows`: how far shadows were lifted, 0 (not at all) to 1, which `auto` decides for each picture.

Both are null where the model made no output. With `-v` the line of each picture tells them too: `exposure 0.41, shadows
0.32`; what the model does not take, and shadows that were left alone, it leaves out.""",
    "lowlight benchmark": """\
Without `--root`, sets are looked for in the folder that `LOWLIGHT_DATA` names, else in `data` in lowlight's own folder:
`LOWLIGHT_HOME`, else `~/.cache/lowlight` (macOS: `~/Library/Caches/lowlight`, Windows: `%LOCALAPPDATA%\\lowlight`).""",
}
"""What --help has no room for, by command."""

SETS_TEXT = """\
## Data sets

`--root` (or `LOWLIGHT_DATA`) names the folder of one set, or one that holds several under their usual names. The
layouts of the published archives and of the repositories most used with them are known. Low and normal pictures are
paired by name, strictly; another number of pictures than was published is told. Only LOL can be fetched
(`--download`): its archive stays in the Hub's cache, and is unpacked into `lol_dataset/` below `--root` (without it,
below `$LOWLIGHT_DATA`, else `data/lol_dataset/` in lowlight's own folder, which `lowlight doctor` names), whose
`eval15/` is for tests and `our485/` for `lowlight train --data ROOT/lol_dataset`. All others must be brought."""

SETTINGS_TEXT = """\
What `lowlight train` can be told besides its flags: see [training.md](training.md). A setting is changed by
`--set NAME=VALUE` (JSON; words need no quotes) or in a YAML file for `--config`; one entry of a mapping by
`--set loss.ssim=0.01` or `--set 'params.widths=[16,32]'`. A run writes all of its settings to its `config.yaml`."""
DEFAULTS_TEXT = """\
The paper's; where it is silent, those of the work it builds on, or ours. Settings not listed are the same for all. The
arguments of the networks, below, are not all the paper's: training.md says what makes
[its plain form](training.md#the-papers-plain-form)."""
NETWORKS_TEXT = """\
`params` are the arguments of a network, `discriminator` those of its discriminators, `loss` the weights of the terms
that are summed. The log has each term without its weight: `train_NAME`, and `loss_NAME` on held-out crops. What is
"ours" is not in the paper; where else we differ, and why, is told at the top of each file in `lowlight_cli/models/`."""

PERCEPTUAL = "Difference of features of VGG16; see the setting `perceptual`."
GUESS = "Ours. Squared error of the brightness that a small head guesses; trains the head alone."
EXPOSURE = "With a target brightness, given or guessed; the paper: false."
CYCLEGAN = {
    "params.guided": "With statistics of the whole picture from a thumbnail, for tiles; the paper: false.",
    "params.exposure": EXPOSURE,
    "discriminator.width": "Channels of the first layer.",
    "discriminator.objective": "The adversarial loss: `log` (cross entropy) or `lsgan` (least squares).",
    "loss.adversarial": "Whether the discriminators take made pictures for real; in the log `adversarial_high` (of "
    "brightened ones) and `adversarial_low` (of darkened ones). With 0 the discriminators are not trained.",
    "loss.cycle": "Absolute difference, on the range -1 to 1, of a picture and what comes back after both generators.",
    "loss.identity": "The same of bright pictures and these brightened, and of dark ones and these darkened.",
    "loss.paired": "Ours. The same of made pictures and the truths of the same scenes; a weight asks for pairs.",
    "loss.ssim": "Ours. 1 - SSIM of these; a weight asks for pairs, too.",
    "loss.exposure": GUESS,
}
SENTENCES: dict[str, dict[str, str]] = {
    "neid": {
        "params.widths": "Channels of the levels of the U-Net, finest first; as many levels as numbers.",
        "params.dr": "With DR, the decoder for detail; users' pictures do not go through it.",
        "params.ff": "With FF, which weighs the features of both decoders; needs `dr`.",
        "params.exposure": EXPOSURE,
        "params.detail": "With a mask that lets through the detail that half resolution loses; the paper: false.",
        "params.init": "Spread of the normal weights at the start; null: Kaiming's; the paper: 0.02.",
        "loss.huber": "Huber distance of output and truth.",
        "loss.dr": "Mean squared error of DR, which restores the picture as the network sees it, brightened.",
        "loss.color": "1 - cosine of planes of hue, and of saturation. It turns dark reds green: see weights.md.",
        "loss.angle": "Ours. 1 - cosine of the angle of colours, means of 4x4 pixels; blind to brightness.",
        "loss.ssim": "Ours. 1 - SSIM.",
        "loss.double": "Ours. The weighted sum of those of the terms above that compare outputs, at twice the size: "
        "corners of every second picture of a batch, enlarged by the network and halved again.",
        "loss.perceptual": f"Ours. {PERCEPTUAL}",
        "loss.exposure": GUESS,
        "loss.delta": "No weight: the difference beyond which `huber` is linear, not a square; at 1, hardly ever.",
    },
    "ba_gan": {
        "params.widths": "Channels of the levels of the U-Net, finest first; as many levels as numbers.",
        "params.attention": "Channels of the levels of the attention network, finest first.",
        "discriminator.widths": "Channels of the five convolutions.",
        "discriminator.hidden": "Units between the two linear layers.",
        "loss.attention": "Mean squared error of the attention map: which share of its light a pixel lacks.",
        "loss.adversarial": "Whether the discriminator takes the output for real: -ln of that probability.",
        "loss.content": "Mean absolute difference of output and truth.",
        "loss.perceptual": PERCEPTUAL,
        "loss.tv": "Total variation of the output: mean squared difference of neighbours, which noise makes large.",
        "loss.color": "Mean squared difference of output and truth, both blurred: colour without detail.",
        "loss.penalty": "No weight of the generator's loss: of the gradient penalty in the discriminator's.",
    },
    "ema_cyclegan": CYCLEGAN
    | {
        "params.width": "Channels at full size; there are four times as many inside.",
        "params.blocks": "Residual blocks.",
        "params.ema": "With attention (EMA) in the residual blocks. The moving average is the setting `ema`.",
        "params.aspp": "With atrous spatial pyramid pooling after the encoder.",
        "params.groups": "Groups of channels in the attention; they must divide 4 times `width`.",
        "params.window": "Features of a row or column that a mean in the attention spans, odd. All of them, as in the "
        "paper, with `guided` false.",
        "discriminator.depth": "Convolutions of stride 2; with 3 each score judges 70x70 pixels.",
    },
    "drs_cyclegan": CYCLEGAN
    | {
        "params.width": "Channels of paths 1 and 2; path 3 has half as many.",
        "params.blocks": "Shrinkage blocks of the three paths.",
        "params.downsample": "1, 2 or 4: the paths run at the picture's size, a half or a quarter of it: faster.",
        "discriminator.kernels": "Sizes of the kernels, one for each path.",
    },
    "aux_retinex": {
        "params.width": "Channels of each of the four shallow convolutions.",
        "params.hidden": "Channels between the three convolutions that estimate the illumination.",
        "params.exposure": EXPOSURE,
        "params.reduction": "Side in pixels of the squares whose means the illumination's share is made from; the "
        "bundled weights: 4.",
        "loss.fidelity": "Squared difference of each stage's illumination and its input's largest channel, summed.",
        "loss.smoothness": "How uneven the illumination is, summed over the stages.",
        "loss.perceptual": f"{PERCEPTUAL} Of the last illumination and what a next stage would see.",
        "loss.exposure": "Ours. Squared distance of a batch's mean luma to `target`, summed over the stages.",
        "loss.target": "No weight: the mean luma that `exposure` asks for; brighter pictures count with their own.",
    },
}
"""What the arguments and the entries of `loss` are, by file of the network."""


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
    notes = {name: f"\n{text}\n" for name, text in NOTES.items()}
    body = "\n".join(f"## {name}\n\n```text\n{text}\n```\n{notes.get(name, '')}" for name, text in pages)
    return f"{NOTE}# The command line\n\n{body}"


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


def settings_page() -> str:
    """docs/settings.md."""
    told, general = setting_sentences(), Settings()
    rows = [[f"`{name}`", shown(value), told[name]] for name, value in vars(general).items()]
    lines = [f"{NOTE}# Settings of training\n", f"{SETTINGS_TEXT}\n", *table(["setting", "default", "meaning"], rows)]
    lines += ["\n## Defaults by model\n", f"{DEFAULTS_TEXT}\n", *defaults_table(general)]
    lines += ["\n## Networks and losses\n", f"{NETWORKS_TEXT}\n"]
    return "\n".join(lines) + "\n" + "\n".join(network_section(name, code) for name, code in networks().items())


def networks() -> dict[str, ModuleType]:
    """The files of networks that can be trained, by the name of the first row that has one."""
    return {first_row(spec): models.module(spec.arch) for spec in measured.networks()}


def setting_sentences() -> dict[str, str]:
    """The text under each field of `Settings`, by its name."""
    tree = ast.parse(inspect.getsource(training_settings))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == Settings.__name__)
    return {
        field.target.id: " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }


def defaults_table(general: Settings) -> list[str]:
    """Settings in rows, models in columns, where one differs from the general default."""
    resolved = {name: vars(Settings(**code.DEFAULTS)) for name, code in networks().items()}
    rows = [
        [f"`{name}`", *(shown(settings[name]) for settings in resolved.values())]
        for name, default in vars(general).items()
        if not isinstance(default, Mapping)
        and any(shown(settings[name]) != shown(default) for settings in resolved.values())
    ]
    return table(["setting", *resolved], rows)


def network_section(name: str, code: ModuleType) -> str:
    """The arguments and the loss of one network."""
    told = {"params": arguments(get_type_hints(code.build)["return"])}
    for key, value in vars(code).items():
        if inspect.isclass(value) and key.endswith("Discriminator"):
            told["discriminator"] = arguments(value) | code.DEFAULTS.get("discriminator", {})
            told["discriminator"].pop("crop", None)  # the recipe gives it
    told["loss"] = code.DEFAULTS["loss"]
    sentences = SENTENCES[code.__name__.rpartition(".")[2]]
    rows = [
        [f"`{part}.{key}`", shown(value), sentences[f"{part}.{key}"]]
        for part, values in told.items()
        for key, value in values.items()
    ]
    return "\n".join([f"### {name}\n", *table(["setting", "default", "meaning"], rows)]) + "\n"


def arguments(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults of the arguments of a class."""
    return {name: about.default for name, about in inspect.signature(build).parameters.items()}


def shown(value: object) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, default=dict)


def pages() -> dict[str, str]:
    """Every page by its path below docs/."""
    made = {"cli.md": cli_page(), "metrics.md": metrics_page(), "settings.md": settings_page()}
    return (
        made | {"models.md": cards.models_page()} | {f"models/{name}.md": text for name, text in cards.cards().items()}
    )


def main() -> None:
    """Write all; a card of a model that is gone goes too."""
    (HERE / "models").mkdir(exist_ok=True)
    made = pages()
    for card in (HERE / "models").glob("*.md"):
        if f"models/{card.name}" not in made:
            card.unlink()
    for path, text in made.items():
        (HERE / path).write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
