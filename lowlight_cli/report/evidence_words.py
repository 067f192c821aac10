"""What a method is and is not, what a log shows and does not, and the record's settings: in plain words.

Written for a reader who was not there, knows nothing of networks, and may be hostile. Nothing here says that a picture
may be used anywhere: that is for others to decide.
"""

from __future__ import annotations

from lowlight_cli.evidence_chain import Record
from lowlight_cli.report.evidence_log import items, number, table, text, value, whole
from lowlight_cli.report.figures import count

Told = tuple[str, str]
"""A few words that stand before, and the sentences behind them."""

EVERY_METHOD: tuple[Told, ...] = (
    (
        "Brightness and contrast are changed.",
        "How bright something is in an output does not tell how bright it was, nor what the lighting was like.",
    ),
    (
        "Colours are no measurement.",
        "Dark parts hold little colour, and it is amplified together with its noise. The colour of clothes, of a "
        "vehicle or of skin must not be concluded from an output alone.",
    ),
    (
        "Fine texture is the least certain part.",
        "Noise of the sensor and blocks of compression are amplified or smoothed, and can then look like texture, "
        "writing or a mark. No person, face or number plate should be identified by fine texture alone. What matters "
        "should be visible in the original too, once that is simply shown brighter.",
    ),
    (
        "What was not recorded cannot come back.",
        "Where the original is fully black or fully white it holds no information. Whatever an output shows there "
        "does not come from the scene.",
    ),
)

DETAIL: Told = (
    "It may remove real detail, and may add texture.",
    "What it takes for noise it may smooth away, and fine texture, thin lines and small letters may go with it; noise "
    "that is left may be drawn into texture that was not there. Compare with the original and, where there is one, "
    "with the baseline.",
)
"""Of trained networks."""

SHOWS: tuple[Told, ...] = (
    (
        "Which bytes were worked on, and which came out.",
        "A file with the SHA-256 that a record names is, for all practical purposes, the very file that was read or "
        "written.",
    ),
    (
        "How.",
        "The method, its weights, its settings, the program's versions and the machine stand in every record, so that "
        "somebody else can do the same again and compare.",
    ),
    (
        "That no record was changed, removed or moved since, but only under one condition.",
        "Each record holds the SHA-256 of the one before it. Whoever can write to the log could write all of it anew, "
        "with a chain that is whole. It shows later changes only to somebody who knows the chain head from elsewhere: "
        "from a signed sheet, a letter or another system, noted when the work was done.",
    ),
)

SHOWS_NOT: tuple[Told, ...] = (
    (
        "Who sat at the machine.",
        "Case, examiner and note are what somebody typed; the times are those of the machine’s own clock.",
    ),
    (
        "What happened to a picture before.",
        "Whether it is the camera’s first recording, whether it was cut or edited, and what it depicts, is not known "
        "to the log. Cameras and recorders process and compress pictures, too.",
    ),
    (
        "What else was done.",
        "Pictures that were enhanced without a log, or with another log, are not in this one.",
    ),
    (
        "That an output is true to the scene.",
        "The log is exact about what was done. How far the result may be relied on is a question to the method, above.",
    ),
)


def title(method: Record) -> str:
    """What kind of method it is, in a few words."""
    if value(method, "generative") is True:
        return "a generative network"
    return "a classical method" if classical(method) else "a trained network"


def name(method: Record) -> str:
    """What to call it at the head of a sentence."""
    return text(method, "model") or "The method"


def classical(method: Record) -> bool:
    """Whether nothing was learned."""
    return text(method, "backend") == "classical" or text(method, "arch").startswith("classical.")


def nature(method: Record) -> list[Told]:
    """What the method is and what follows from that."""
    if value(method, "generative") is True:
        found = [_generative(method)]
    elif classical(method):
        found = [_classical(method)]
    else:
        found = [_network(method), DETAIL]
    return found + _extras(method)


def _classical(method: Record) -> Told:
    return (
        "A fixed formula; nothing was learned.",
        f"{name(method)} follows rules that are written down and published. It was trained on no pictures: each output "
        "is computed from its own input alone, and the method knows of no faces, letters or things that it could put "
        "in. It can still exaggerate contrast, edges, noise and the blocks of compression.",
    )


def _network(method: Record) -> Told:
    learned = whole(method, "parameters")
    size = f" with {count(learned)} learned numbers" if learned else ""
    return (
        "A trained network, not a generative one.",
        f"{name(method)} is a neural network{size}: what it does to a picture was learned from other pictures. It is "
        "built and trained to brighten, not to make up content that looks plausible. That is a statement about its "
        "purpose, and no guarantee for each detail.",
    )


def _generative(method: Record) -> Told:
    allowed = (
        "It ran because this was allowed explicitly (--allow-generative)."
        if value(method, "allow_generative") is True
        else "The log does not record that this was allowed explicitly."
    )
    return (
        "A generative method: it may show what was not there.",
        f"{name(method)} is a network that was trained to make pictures that look real. It was "
        "rewarded for what looks plausible: structures, texture and detail in its outputs may never have been in the "
        "scene, and what was there may be missing. Nothing should be identified by such an "
        f"output. {allowed}",
    )


def _extras(method: Record) -> list[Told]:
    """What the settings add."""
    found = []
    strength, scale = number(method, "settings", "strength"), whole(method, "settings", "scale")
    if strength is not None and strength < 1:
        told = f"{strength:.0%} of the method’s picture and {1 - strength:.0%} of the original."
        found.append(("Outputs are a mixture:", told))
    if shadows := table(method, "settings").get("shadows", 0):
        told = "light was taken from bright parts and given to dark ones."
        found.append(("Before the method, shadows were lifted:", told))
    elif shadows is None:
        told = "light was taken from bright parts and given to dark ones. Such a picture’s section tells how much."
        found.append(("Where a picture holds lights as well, shadows were lifted before the method:", told))
    if scale is not None and scale > 1:
        told = f"Of every {scale * scale} pixels, {scale * scale - 1} were computed and not recorded by a camera."
        found.append((f"Each side is {scale} times as long as in the original.", told))
    return found


def paper(method: Record) -> str:
    """Where the method is published."""
    parts = [text(method, "paper", name).rstrip(".") for name in ("authors", "title", "venue")]
    return ". ".join(part for part in parts if part) + "." if any(parts) else ""


def settings(method: Record) -> list[Told]:
    """Names and values of all that was chosen."""
    learned, threads = whole(method, "parameters"), whole(method, "threads")
    device = " ".join(part for part in (text(method, "device"), text(method, "device_name")) if part)
    rows = [
        ("Model", text(method, "model")),
        ("Architecture", text(method, "arch")),
        ("Licence", text(method, "licence")),
        ("Learned numbers", "none" if classical(method) else count(learned)),
        ("Parameters of the method", listed(table(method, "params")) or "as published"),
        ("Strength", _strength(number(method, "settings", "strength"))),
        ("Exposure", _exposure(method)),
        ("Shadows", _shadows(method)),
        ("Scale", _plain(value(method, "settings", "scale"))),
        ("Bits per channel written", _depth(value(method, "settings", "depth"))),
        (
            "Side of tiles",
            "chosen by the size" if _auto(method) else _plain(value(method, "settings", "tile")),
        ),
        ("Most pixels allowed", count(whole(method, "settings", "max_pixels"))),
        ("Back end", " through ".join(p for p in (text(method, "backend"), text(method, "provider")) if p)),
        ("Device", device),
        ("Precision", text(method, "precision")),
        ("Threads", "chosen by the back end" if threads == 0 else _plain(threads)),
        ("Deterministic", _truth(value(method, "deterministic"))),
        ("Manifest, SHA-256", text(method, "manifest_sha256")),
    ]
    return [(name, told) for name, told in rows if told and told != "–"] + weights(method)


def weights(method: Record) -> list[Told]:
    """The files of weights that were really used."""
    found = []
    for file in items(method, "weights"):
        size = whole(file, "bytes")
        told = [text(file, "path"), f"{count(size)} bytes" if size is not None else "", text(file, "sha256")]
        found.append((f"Weights {text(file, 'role')}".strip(), ", ".join(part for part in told if part)))
    return found


def _strength(strength: float | None) -> str:
    if strength is None:
        return ""
    return "1, the method’s picture alone" if strength == 1 else f"{strength:g}"


def _exposure(method: Record) -> str:
    if "exposure" not in table(method, "settings"):
        return ""
    told = number(method, "settings", "exposure")
    if told is not None:
        return f"{told:g}, given"
    return "" if classical(method) else "chosen by the network for each picture"


def _shadows(method: Record) -> str:
    if "shadows" not in table(method, "settings"):
        return ""
    told = number(method, "settings", "shadows")
    if told is None:
        return "lifted where a picture holds lights as well"
    return "not lifted" if told == 0 else f"lifted by {told:.0%} of the differences of illumination"


def _depth(told: object) -> str:
    return "as in the original" if told == "keep" else _plain(told)


def _auto(method: Record) -> bool:
    settings = table(method, "settings")
    return "tile" in settings and settings["tile"] is None


def _truth(told: object) -> str:
    return ("yes" if told else "no") if isinstance(told, bool) else ""


def _plain(told: object) -> str:
    """A number, a word or a truth as text; empty for all else."""
    if isinstance(told, str):
        return text({"": told}, "")
    if isinstance(told, bool) or told is None:
        return ""
    return f"{told:g}" if number({"": told}, "") is not None else ""


def listed(told: Record) -> str:
    """A mapping as `name value, name value`."""
    parts = (f"{name} {', '.join(map(str, item)) if isinstance(item, list) else item}" for name, item in told.items())
    return text({"": ", ".join(parts)}, "")


def tiles(record: Record) -> str:
    """How the picture was cut for the work."""
    plan = table(record, "tiles")
    side, rows, columns, halo = (whole(plan, name) for name in ("side", "rows", "columns", "halo"))
    if side is None:
        return ""
    if side == 0:
        return "whole, not cut"
    overlap = f", each computed with {halo} pixels around it" if halo else ""
    return f"{count(rows)} × {count(columns)} tiles of at most {side} pixels on a side{overlap}"


def lifted(record: Record) -> str:
    """How much light was taken from lights and given to shadows before the method saw the picture."""
    told = number(record, "shadows")
    if not told:
        return ""
    return f"{'under 1%' if told < 0.01 else f'{told:.0%}'} of the differences of illumination"


def system(told: Record) -> list[Told]:
    """The machine and the versions."""
    cores = whole(told, "cores")
    rows = [
        ("lowlight", text(told, "lowlight")),
        ("Python", text(told, "python")),
        ("Operating system", text(told, "os")),
        ("Machine", text(told, "machine")),
        ("Processor", text(told, "cpu")),
        ("Cores", count(cores)),
        ("Host", text(told, "host")),
        ("Packages", listed(table(told, "packages"))),
    ]
    return [(name, value) for name, value in rows if value and value != "–"]
