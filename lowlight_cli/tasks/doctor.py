"""Look at this installation, one finding after the other. Never uses the network.

A check that breaks is itself a finding, and the others still run: so nothing outside the standard library is
imported before the check that needs it. `problem` means that something which was installed or asked for cannot work;
`note` is worth knowing.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from lowlight_cli import __version__, hub, manifest, memory, weights
from lowlight_cli.choices import MODEL
from lowlight_cli.errors import LowlightError, ModelUnavailable, reason_of
from lowlight_cli.machine import cores
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.packages import EXTRAS, OWNERS, install, install_extras, installed, lacking, reinstall, wanted
from lowlight_cli.runners import driver
from lowlight_cli.tasks.findings import Finding, Findings

REPORT = "This may be a fault of lowlight: report it with the output of `lowlight doctor --json`."
LITTLE_MEMORY, LITTLE_DISK = 1 << 30, 1 << 30

NEEDED = {"numpy": "ndarray", "PIL.Image": "new", "cv2": "resize", "onnxruntime": "InferenceSession", "torch": "nn"}
"""The modules that do the work, in the order of import, and something in each that an empty shell lacks."""

PLAIN = (
    *("HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"),
    *("LOWLIGHT_HOME", "LOWLIGHT_HUB_REPO", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"),
)
ADDRESSES = ("HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclasses.dataclass(frozen=True)
class DoctorOptions:
    """`offline`: judge as for a machine without network, on which files yet to be fetched are a problem."""

    offline: bool = False


def examine(options: DoctorOptions) -> Findings:
    """Every finding of every check, as they come."""
    for area, check in checks(options).items():
        try:
            for finding in check():
                yield dataclasses.replace(finding, area=area)
        except LowlightError as error:
            yield Finding("problem", error.message, error.hint, area=area)
        except Exception as error:  # noqa: BLE001 - the boundary of one check
            text = f"This check broke: {type(error).__name__}: {first_line(error)}"
            yield Finding("problem", text, REPORT, area=area)


def checks(options: DoctorOptions) -> dict[str, Callable[[], Findings]]:
    """All checks in their order, by what they look at."""
    return {
        "versions": check_versions,
        "packages": check_packages,
        "extras": check_extras,
        "back ends": check_backends,
        "devices": check_devices,
        "weights": functools.partial(check_weights, options.offline),
        "folders": check_folders,
        "environment": check_environment,
        "inference": check_inference,
    }


def check_versions() -> Findings:
    """The machine, and every package that lowlight needs."""
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield Finding("ok", f"lowlight {__version__}, Python {platform.python_version()}, {system}")
    free = memory.available()
    remedy = "Close other programs, or use a small --tile." if free < LITTLE_MEMORY else ""
    text = f"{cores()} of {os.cpu_count()} CPU cores, {free / 1e9:.1f} GB of memory available"
    yield Finding("note" if remedy else "ok", text, remedy)
    for name in OWNERS:
        if found := installed(name):
            yield Finding("ok", ", ".join(" ".join(pair) for pair in found.items()))
        else:
            yield Finding("problem", f"{wanted(name)} is not installed.", install(wanted(name)))


def check_packages() -> Findings:
    """Packages that own one import name must not lie side by side."""
    clashes = {name: found for name in OWNERS if len(found := installed(name)) > 1}
    for name, found in clashes.items():
        text = f"{' and '.join(found)} are installed side by side; both own `{name}` and overwrite each other."
        yield Finding("problem", text, reinstall(name))
    if not clashes:
        yield Finding("ok", "no two packages own the same import name")


def check_extras() -> Findings:
    """Optional parts, which nothing but what they are for needs."""
    for extra, (purpose, _) in EXTRAS.items():
        if lacks := lacking(extra):
            text = f"the extra [{extra}], for {purpose}, is not installed: {', '.join(lacks)}"
            yield Finding("note", text, f"In your clone of lowlight: {install_extras(extra)}")
        else:
            yield Finding("ok", f"the extra [{extra}], for {purpose}, is installed")


def check_backends() -> Findings:
    """Import what does the work, here and now."""
    for name, attribute in NEEDED.items():
        package, loaded, started = name.partition(".")[0], name in sys.modules, time.perf_counter()
        try:
            module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken package may raise anything
            text = f"{name} does not load: {type(error).__name__}: {first_line(error)}"
            yield Finding("problem", text, reinstall(package))
            continue
        if not hasattr(module, attribute):
            text = f"{name} loads but is an empty shell: another package took its files away."
            yield Finding("problem", text, reinstall(package))
            continue
        version = getattr(sys.modules[package], "__version__", "")
        took = "was loaded already" if loaded else f"loads in {time.perf_counter() - started:.2f} s"
        yield Finding("ok", f"{package} {version} {took}")


def check_devices() -> Findings:
    """What the driver has, and what each back end can reach of it."""
    count = driver.cuda_devices()
    hidden = not count and any(Path("/proc/driver/nvidia/gpus").glob("*"))
    remedy = "In a container, start it with its GPUs; else check CUDA_VISIBLE_DEVICES and `nvidia-smi`."
    text = "there is an NVIDIA GPU, but its driver gives no device" if hidden else f"{count} CUDA devices by the driver"
    yield Finding("note" if hidden else "ok", text, remedy if hidden else "")
    torch, onnxruntime = loadable("torch"), loadable("onnxruntime")
    if torch:
        yield from torch_devices(torch, count)
    if onnxruntime:
        yield from onnx_devices(onnxruntime, count)
    ours = str(torch.version.cuda or "") if torch else ""
    theirs = str(getattr(onnxruntime, "cuda_version", "") or "")
    if ours and theirs and ours.split(".")[0] != theirs.split(".")[0]:
        text = f"PyTorch is built for CUDA {ours}, ONNX Runtime for CUDA {theirs}: it may not find its libraries."
        remedy = "Only `--backend onnx --device cuda` suffers: install versions of one CUDA, or use --backend torch."
        yield Finding("note" if count else "ok", text, remedy if count else "")


def torch_devices(torch: ModuleType, count: int) -> Findings:
    """PyTorch's CUDA and MPS."""
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("ok", f"PyTorch, {build}, reaches {names}")
    elif count:
        remedy = "Install a PyTorch for the driver's CUDA version (pytorch.org, Get Started), or use --device cpu."
        yield Finding("problem", f"PyTorch, {build}, does not reach the {count} CUDA devices.", remedy)
    else:
        yield Finding("ok", f"PyTorch, {build}, uses the CPU")
    if torch.backends.mps.is_available():
        yield Finding("note", "PyTorch reaches MPS, which `auto` does not take.", "Use --device mps.")


def onnx_devices(onnxruntime: ModuleType, count: int) -> Findings:
    """What ONNX Runtime was built with; whether that loads shows in the inference."""
    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    text = f"ONNX Runtime was built with {', '.join(names)}"
    if cuda := getattr(onnxruntime, "cuda_version", ""):
        text += f", for CUDA {cuda}"
    unused = count and "CUDA" not in names
    remedy = f"For --backend onnx --device cuda: {reinstall('onnxruntime')}"
    yield Finding("note" if unused else "ok", text, remedy if unused else "")


def check_weights(offline: bool) -> Findings:
    """Hash every file of every row that is on this disk, and name those that are not."""
    for spec in manifest.models().values():
        try:
            yield from row_weights(spec, offline or hub.is_offline())
        except ModelUnavailable as error:
            yield Finding("problem", f"{spec.name}: {error.message}", error.hint)


def row_weights(spec: ModelSpec, offline: bool) -> Findings:
    """The files of one row."""
    checked = [*weights.verify(spec)]
    for file, copy, problem in checked:
        if problem:
            error = weights.not_as_stated(copy.path, file, problem)
            yield Finding("problem", f"{spec.name}: {error.message}", error.hint)
    good = {file.role: copy.place for file, copy, problem in checked if not problem}
    if good:
        places = " and ".join(sorted(set(good.values())))
        yield Finding("ok", f"{spec.name}: {len(good)} of {len(spec.files)} files verified, {places}")
    if spec.untrained:
        yield Finding("note", f"{spec.name}: no weights are published yet", "Use --weights FILE of your own.")
    touched = {file.role for file, _, _ in checked}
    for file in (file for file in spec.files if file.role not in touched):
        text = f"{spec.name}: {file.path} ({file.bytes / 1e6:.1f} MB) is not on this disk"
        yield Finding("problem" if offline else "note", text, hub.remedy(spec, file))


def check_folders() -> Findings:
    """Where weights lie, whether more can be written there, and how much space is left."""
    yield Finding("ok", f"bundled weights: {manifest.PACKAGE / 'bundled'}")
    yield folder("imported and exported weights", weights.home(), ("LOWLIGHT_HOME",))
    yield folder("Hub cache", hub.cache(), ("HF_HUB_CACHE", "HF_HOME"))


def folder(what: str, path: Path, variables: tuple[str, ...]) -> Finding:
    """One folder. Unwritable is a problem only where it was chosen: bundled weights need no folder."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    text = f"{what}: {path}{'' if path.exists() else ' (not made yet)'}"
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        level = "problem" if any(map(os.environ.get, variables)) else "note"
        remedy = f"Set {variables[0]} to a folder that can be written; until then nothing can be fetched or imported."
        return Finding(level, f"{text}, cannot be written: {reason_of(error)}", remedy)
    remedy = "" if free > LITTLE_DISK else f"Free some space, or set {variables[0]} to a folder on another disk."
    return Finding("note" if remedy else "ok", f"{text}, writable, {free / 1e9:.1f} GB free", remedy)


def check_environment() -> Findings:
    """The variables that change what lowlight does. No secret is shown."""
    env = os.environ
    for name in filter(env.get, PLAIN):
        yield Finding("ok", f"{name}={env[name]}")
    for name in filter(env.get, ADDRESSES):
        yield address(name, env[name])
    for name in filter(env.get, SECRETS):
        yield Finding("ok", f"{name} is set")
    if hub.is_offline():
        yield Finding("note", "HF_HUB_OFFLINE: nothing is fetched.", "Unset it to let lowlight fetch weights.")
    threads = env.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and 0 < int(threads) < cores():
        text = f"OMP_NUM_THREADS={threads} leaves cores idle: PyTorch and OpenCV may use {cores()}"
        yield Finding("note", text, "Unset it, unless other work shares this machine.")
    yield Finding("ok", "the Hub was not contacted; `lowlight models pull` does that where it must")


def address(name: str, value: str) -> Finding:
    """A server from the environment, without user, password and query."""
    shown = re.sub(r"^(\w+://)?.*@", r"\1***@", re.sub(r"\?.*", "?***", value, flags=re.DOTALL), flags=re.DOTALL)
    if name == "HF_ENDPOINT" and not re.match("https?://", value):
        return Finding("problem", f"{name}={shown} has no http:// or https://.", "Give it with its scheme.")
    return Finding("ok", f"{name}={shown}")


def check_inference() -> Findings:
    """One tiny picture through each back end on each device that it should reach, and through classical methods."""
    spec = manifest.find(MODEL)
    for device in ("cpu", *(["cuda"] if driver.cuda_devices() else [])):
        for backend in ("onnx", "torch"):
            try:
                from lowlight_cli.tasks.selftest import selftest

                text = f"{MODEL}: {selftest(spec, backend=backend, device=device, offline=True)}"
            except Exception as error:  # noqa: BLE001 - a broken back end may raise anything
                yield failed_inference(backend, device, error)
            else:
                yield Finding("ok", text)
    from lowlight_cli.tasks.selftest import classical_methods

    ran, failed = classical_methods()
    yield Finding("ok", f"classical methods that run: {', '.join(ran) or 'none'}")
    yield from (Finding("note", error.message, error.hint) for error in failed)


def failed_inference(backend: str, device: str, error: Exception) -> Finding:
    """A problem, but for ONNX Runtime on CUDA: `auto` takes CUDA through PyTorch, so nothing breaks by itself."""
    level = "note" if (backend, device) == ("onnx", "cuda") else "problem"
    message = error.message if isinstance(error, LowlightError) else f"{type(error).__name__}: {error}"
    remedy = "See the other findings; meanwhile try another --backend or --device."
    return Finding(level, f"{MODEL}: {backend} on {device} failed: {message}", remedy)


def loadable(name: str) -> ModuleType | None:
    """A sound module, or None: `check_backends` says why."""
    try:
        module = importlib.import_module(name)
    except Exception:  # noqa: BLE001 - a broken package may raise anything
        return None
    return module if hasattr(module, NEEDED[name]) else None


def first_line(error: Exception) -> str:
    """What an error says, shortly."""
    return next(iter(str(error).strip().splitlines()), "")
