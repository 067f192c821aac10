"""What back ends raise, as errors of this program."""

from __future__ import annotations

from lowlight_cli.errors import DeviceUnavailable, LowlightError, OutOfMemory, PictureError, ran_out_of_memory
from lowlight_cli.manifest import ModelSpec


def no_device(device: str, reason: str) -> DeviceUnavailable:
    """The error for a device that cannot be had."""
    return DeviceUnavailable(
        f"device {device} cannot be had: {reason}.", "Run `lowlight doctor`, or use device cpu or auto."
    )


def is_memory_error(error: Exception) -> bool:
    """Whether a back end's exception says that memory ran out; both tell it in words only."""
    text = str(error).lower()
    return ran_out_of_memory(error) or any(
        words in text
        for words in ("out of memory", "failed to allocate memory", "can't allocate memory", "bad_alloc", "bad alloc")
    )


def unless_memory(error: Exception, spec: ModelSpec) -> LowlightError:
    """What to raise for an exception of a back end."""
    if is_memory_error(error):
        whole = "It needs the whole picture at once: shrink the picture, or run one at a time."
        hint = whole if spec.tiling == "whole" else "Use a smaller tile, or run one picture at a time."
        return OutOfMemory(f"There is not enough memory for {spec.name}.", hint)
    report = "Report this with `lowlight doctor`."
    hint = report if spec.classical else "Try the other back end, and report this with `lowlight doctor`."
    return PictureError(f"{spec.name} failed: {error}", hint)
