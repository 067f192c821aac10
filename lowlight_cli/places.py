"""Paths as users and their environment write them."""

from __future__ import annotations

from pathlib import Path

from lowlight_cli.errors import OptionError


def expanded(path: str | Path) -> Path:
    """The absolute path of one that may begin with `~`; OptionError where the system knows no such home folder."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        remedy = "Set HOME, or name folders in full by LOWLIGHT_HOME and HF_HOME."
        raise OptionError(f"There is no home folder for {path}.", remedy) from error
