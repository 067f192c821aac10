"""The packages that own the import names lowlight needs, their versions, and pip commands to mend them.

Standard library only.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

OWNERS = {
    "numpy": ("numpy",),
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "safetensors": ("safetensors",),
    "huggingface_hub": ("huggingface-hub",),
    "onnxruntime": (
        *("onnxruntime-gpu", "onnxruntime", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm"),
        *("onnxruntime-migraphx", "onnxruntime-qnn", "onnxruntime-silicon"),
    ),
    "torch": ("torch",),
}
"""The packages that may own an import name. Two at once overwrite each other's files."""

EXTRAS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "train": (
            "`lowlight train` and `lowlight export`",
            {name: name for name in ("accelerate", "onnx", "onnxscript", "tensorboard")} | {"yaml": "pyyaml"},
        ),
        "benchmark": (
            "the metric lpips, and niqe from its authors' files",
            {name: name for name in ("scipy", "torchmetrics")},
        ),
        "raw": ("pictures in camera raw", {"rawpy": "rawpy"}),
        "heif": ("pictures in HEIC", {"pillow_heif": "pillow-heif"}),
    }
)
"""Optional part of lowlight -> what needs it, and the modules that it brings, with their packages."""


def installed(name: str) -> dict[str, str]:
    """The packages that own an import name, with their versions."""
    return present(OWNERS[name])


def present(names: Iterable[str]) -> dict[str, str]:
    """Those of the packages that are installed, with their versions."""
    return {name: found for name in names if (found := version(name)) is not None}


def version(package: str) -> str | None:
    """Of a package; None where it is not installed."""
    from importlib import metadata  # 10 ms, and a run that goes well asks for no version

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def requirement(package: str) -> str:
    """A package with the versions that lowlight wants of it, as pip takes it; the bare name where none are stated."""
    from importlib import metadata

    try:
        stated = metadata.requires("lowlight") or []
    except metadata.PackageNotFoundError:
        stated = []
    texts = (text.partition(";")[0].strip() for text in stated if "extra ==" not in text)
    return next((text for text in texts if re.match(r"[\w.-]+", text)[0].lower() == package), package)


def wanted(name: str) -> str:
    """The package of an import name that lowlight depends on, on this machine."""
    x86 = (sys.platform, platform.machine()) in {("linux", "x86_64"), ("win32", "AMD64")}
    return "onnxruntime" if name == "onnxruntime" and not x86 else OWNERS[name][0]


def torch_has_cuda() -> bool:
    """Whether the installed torch was built for CUDA, found without importing it; True where its files do not tell."""
    from importlib import metadata

    try:
        text = Path(metadata.distribution("torch").locate_file("torch/version.py")).read_text(encoding="utf-8")
    except metadata.PackageNotFoundError:
        return False
    except OSError:
        return True
    return re.search(r"^cuda\b[^=]*= *['\"]", text, re.MULTILINE) is not None


def install(package: str) -> str:
    """The command that installs a package."""
    return f'python -m pip install "{requirement(package)}"'


def install_extras(*extras: str) -> str:
    """The command that installs optional parts of lowlight."""
    return f'python -m pip install -e ".[{",".join(extras)}]" -c constraints.txt'


def lacking(extra: str) -> list[str]:
    """The packages of an optional part that are not installed."""
    return [package for module, package in EXTRAS[extra][1].items() if not find_spec(module)]


def lacking_extra(module: str) -> tuple[str, str] | None:
    """(package, remedy) of a module that is not there as an optional part of lowlight is not; None for others."""
    top = module.partition(".")[0]
    for extra, (_, modules) in EXTRAS.items():
        if top in modules and modules[top] in lacking(extra):
            told = f"It comes with the extra [{extra}], in your clone of lowlight: {install_extras(extra)}"
            return modules[top], told
    return None


def reinstall(name: str) -> str:
    """The commands after which one sound package owns an import name."""
    found = installed(name)
    first = f"python -m pip uninstall -y {' '.join(found)}, then " if found else ""
    return first + install(wanted(name))


def versions(*more: str) -> dict[str, str]:
    """Versions of Python, of every package on the path from file to file, and of `more`, as far as they are there."""
    names = [*(package for name in OWNERS for package in OWNERS[name]), "scipy", "rawpy", "pillow-heif", *more]
    return {"python": platform.python_version(), **present(names)}
