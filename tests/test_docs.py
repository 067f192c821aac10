"""Documentation that is made from the program is what the program says now."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from lowlight_cli.cli import COMMANDS, group

ROOT = Path(__file__).resolve().parent.parent


def generator():
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def locked(package: str) -> str:
    """The version of a package in constraints.txt."""
    return re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M | re.I)[1]


def test_the_page_of_commands_is_what_help_says():
    from importlib.metadata import version

    if version("click") != locked("click"):
        pytest.skip("help is laid out differently by another version of Click than the one in constraints.txt")
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generator().cli_page()


def test_the_page_of_models_is_what_the_manifest_says():
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == generator().models_page()


def test_the_page_of_metrics_is_what_the_tables_say():
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == generator().metrics_page()


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


def test_every_picture_and_page_the_readme_links_to_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
