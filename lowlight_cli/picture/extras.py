"""Kinds of pictures that are read and never written; which of them optional packages read, and what to install."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from lowlight_cli.errors import PictureError
from lowlight_cli.packages import EXTRAS, install_extras, lacking
from lowlight_cli.picture.model import SUFFIXES

RAW = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"))
HEIF = frozenset((".heic", ".heif", ".hif"))
BITMAP = ".pbm"
"""What is black and white is read by all, too, and not written."""

KINDS: Mapping[str, frozenset[str]] = MappingProxyType({"raw": RAW, "heif": HEIF})
"""Extra, whose one module reads them (see `packages.EXTRAS`) -> lower-case suffixes of files."""


def readable() -> frozenset[str]:
    """Suffixes of all pictures that can be read with what is installed."""
    return frozenset((*SUFFIXES, BITMAP)).union(*(kinds for extra, kinds in KINDS.items() if not lacking(extra)))


def to_install(suffixes: Iterable[str]) -> str:
    """What to install so that files with these suffixes are read; empty where nothing helps, or is needed."""
    unread = {*suffixes} - readable()
    return _install([extra for extra, kinds in KINDS.items() if unread & kinds])


def reader(extra: str, what: str) -> Any:
    """The module of an optional part; where it is not installed, the error for `what` it would read."""
    [(module, package)] = EXTRAS[extra][1].items()
    try:
        return import_module(module)
    except ImportError as error:
        told = f"This is {what}. The package {package}, which reads it, is not installed."
        raise PictureError(told, _install([extra])) from error


def _install(extras: list[str]) -> str:
    return f"Install what reads it, in your clone of lowlight: {install_extras(*extras)}" if extras else ""
