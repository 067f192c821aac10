"""Documentation that is made from the program is what the program says now."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from pathlib import Path

import click
import pytest

from lowlight_cli import errors, manifest
from lowlight_cli.cli import COMMANDS, group
from lowlight_cli.training.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def generator():
    """docs/generate.py as a module; it finds those beside it."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module("generate")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def locked(package: str) -> str:
    """The version of a package in constraints.txt."""
    return re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M | re.I)[1]


def test_the_page_of_commands_is_what_help_says():
    from importlib.metadata import version

    if version("click") != locked("click"):
        pytest.skip("help is laid out differently by another version of Click than the one in constraints.txt")
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generator().cli_page()


def test_the_plain_forms_of_the_papers_can_be_trained():
    from lowlight_cli import manifest
    from lowlight_cli.cli.train import setting
    from lowlight_cli.tasks.train_plan import TrainOptions, make_recipe, resolve

    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = text.partition("### The paper's plain form\n")[2].partition("\n\n**")[0]
    told = {}
    for line in (line for line in table.splitlines() if line.startswith("| `")):
        names, values, *_ = [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split(" | ")] + [[]] * 2
        told |= {name: dict(map(setting, values)) for name in names if name in manifest.models()}
    assert {*told} == {"neid", "ba-gan", "ema-cyclegan", "drs-cyclegan", "aux-retinex"}
    assert all(told[name] for name in told if name != "ba-gan")
    for name, values in told.items():
        options = TrainOptions(model=name, out=ROOT / "none", overrides={**values, "perceptual": "off"})
        plan = resolve(options)
        assert not plan.geometry["exposure"]
        make_recipe(plan, options, print)


def test_examples_fit_a_terminal_of_80_columns():
    pages = dict(generator().help_of(group, "lowlight"))
    assert "lowlight enhance" in pages["lowlight"]
    for name, text in pages.items():
        example = text.partition("Example:\n")[2].partition("\n\n")[0]
        assert not [line for line in example.splitlines() if len(line) > 80], name


def test_notes_are_of_commands_that_there_are_and_name_the_folder_of_data_sets(monkeypatch: pytest.MonkeyPatch):
    from lowlight_cli.data.sets import data_root

    made = generator()
    assert {*made.NOTES} <= {name for name, _ in made.help_of(group, "lowlight")}
    for name in ("LOWLIGHT_DATA", "LOWLIGHT_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert data_root() == Path("~/.cache/lowlight/data").expanduser()
    assert "`~/.cache/lowlight`" in made.NOTES["lowlight benchmark"]


def test_the_page_of_models_is_what_the_manifest_says():
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == generator().cards.models_page()


def test_the_cards_of_models_are_what_manifest_and_figures_say():
    told = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "models").glob("*.md")}
    assert told == generator().cards.cards()


def test_the_page_of_metrics_is_what_the_tables_say():
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == generator().metrics_page()


def test_the_page_of_settings_is_what_settings_and_networks_say():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == generator().settings_page()


def test_every_setting_has_a_sentence_of_its_own():
    told = generator().setting_sentences()
    assert told.keys() == vars(Settings()).keys()
    assert len({*told.values()}) == len(told)


def test_every_sentence_on_a_network_is_on_the_page():
    made = generator()
    archs = {name: code.__name__.rpartition(".")[2] for name, code in made.networks().items()}
    assert {*archs.values()} == made.SENTENCES.keys()
    for name, arch in archs.items():
        section = made.network_section(name, made.networks()[name])
        assert [key for key in made.SENTENCES[arch] if f"| `{key}` |" not in section] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["LOL/train", "BSDS500/train"], "LOL/train, BSDS500/train"),
        ({"step": 500, "psnr": 20.1}, "step 500, psnr 20.1"),
    ],
)
def test_lists_and_mappings_of_the_manifest_read_as_words(value: object, text: str):
    assert generator().cards.words(value) == text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    command = group.get_command(group.make_context("lowlight", [], resilient_parsing=True), name)
    assert command.help
    assert "Example:" in command.help


def test_the_readme_installs_with_the_constraints_and_names_every_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    installs = [line for line in readme.splitlines() if "pip install" in line]
    assert installs
    assert all("-c constraints.txt" in line for line in installs)
    for name in COMMANDS:
        assert f"lowlight {name}" in readme, name


def table(heading: str) -> list[list[str]]:
    """Cells of the README's table whose first column is headed so."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_models_of_the_readme_have_the_figures_of_the_manifest():
    rows = manifest.models()
    told = {name.strip("`"): cells for name, _, *cells in table("model")}
    assert told.keys() - {"crm"} == {name for name, row in rows.items() if not row.classical}
    for name, cells in told.items():
        found = next(one for one in rows[name].figures if one["set"] == "LOL eval15")
        count = f"{rows[name].parameters:,}" if rows[name].parameters else "-"
        pairs = [(found[f"PSNR{at}"], found[f"SSIM{at}"].split()[0]) for at in ("", " at GT mean")]
        assert cells == [count, *(f"{psnr} dB, {ssim}" for psnr, ssim in pairs)], name


def test_the_readme_names_the_classical_methods_and_the_recipes():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    (methods,) = re.findall(r"Thirteen classical methods \((.*?)\)", readme)
    (recipes,) = re.findall(r"Five recipes from five papers: (.*?)\.", readme)
    rows = manifest.models()
    classical, trained = re.findall(r"`(.*?)`", methods), re.findall(r"`(.*?)`", recipes)
    assert (len(classical), {*classical}) == (13, {name for name, row in rows.items() if row.classical})
    archs = {row.arch for row in rows.values() if not row.classical}
    assert (len(trained), {rows[name].arch for name in trained}) == (5, archs)


def test_the_exit_codes_of_the_readme_are_those_of_the_program():
    told = {int(code): meaning for row in table("code") for code, meaning in zip(row[::2], row[1::2], strict=True)}
    assert {*told} == {
        errors.DONE, errors.SOME_FAILED, errors.USAGE, errors.NO_INPUT, errors.NO_MODEL, errors.NO_DEVICE,
        errors.ALL_FAILED, errors.INTERRUPTED,
    }  # fmt: skip
    assert told[errors.SOME_FAILED] == "some files failed"
    assert told[errors.ALL_FAILED] == "all files failed"


def test_every_command_that_is_shown_has_the_options_it_is_shown_with():
    """In the README, on every page, and in the examples of the help texts, which are on one of them."""
    seen = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for words in re.findall(rf"lowlight(?:_cli)? ((?:{'|'.join(COMMANDS)})\b[^|&>#`\n]*)", text):
            name, *rest = words.split()
            command: click.Command = group.get_command(click.Context(group), name)
            if isinstance(command, click.Group) and rest and rest[0] in command.commands:
                command = command.commands[rest[0]]
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            asked = {word.partition("=")[0].rstrip(".,;:)") for word in rest if re.match("--?[a-z]", word)}
            assert asked <= known, f"{page.name}: lowlight {words}"
            seen += len(asked)
    assert seen > 100


@pytest.mark.usefixtures("fakes")
def test_the_library_example_of_the_readme_runs(photo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    photo(Path("night.jpg"), 6, 8)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["bright"].shape == (6, 8, 3)
    assert names["neid"].closed
    (error,) = re.findall(r"lowlight\.(\w*Error)", code)
    assert issubclass(getattr(names["lowlight"], error), Exception)


def test_the_seconds_of_the_readme_are_those_that_were_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "benchmarks" / "results" / "speed.md").read_text(encoding="utf-8")
    start = float(re.search(r"^\| neid \| ([\d.]+) \([\d.]+ to [\d.]+\) \|$", page, re.M)[1])
    scale = float(re.search(r"^\| neid \| (\d+) \(", page.partition("## Scale")[2], re.M)[1])
    assert re.search(rf"600x400 takes\s+about {start:.1f} s", readme)
    assert re.search(rf"each further megapixel {scale / 1000:.1f} s", readme)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_every_picture_and_page_that_is_linked_to_is_there(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
