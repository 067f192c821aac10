"""Brighten and clean dark pictures: the library behind the `lowlight` command.

    import lowlight_cli as lowlight

    neid = lowlight.open_model("neid")
    bright = neid("night.jpg")  # a path, a Pillow image or an array in, an array out

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lowlight_cli.enhancer import Enhancer, open_model
    from lowlight_cli.errors import LowlightError
    from lowlight_cli.manifest import ModelSpec
    from lowlight_cli.manifest import models as list_models

_PUBLIC = {
    "Enhancer": "lowlight_cli.enhancer:Enhancer",
    "LowlightError": "lowlight_cli.errors:LowlightError",
    "ModelSpec": "lowlight_cli.manifest:ModelSpec",
    # Not `models`: that is the package of networks, and importing it would take the name.
    "list_models": "lowlight_cli.manifest:models",
    "open_model": "lowlight_cli.enhancer:open_model",
}

__all__ = ["Enhancer", "LowlightError", "ModelSpec", "__version__", "list_models", "open_model"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
