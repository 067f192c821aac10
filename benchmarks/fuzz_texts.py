"""Changes to what is JSON or YAML inside: manifests, settings, logs, headers of safetensors; and to zip archives."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 16, 255, 4097, 2**31, 2**63, 10**40, -(10**40), 0.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "nan", "../../x", "/etc/passwd", "C:\\x", "a" * 5000),
    *("\0", "\n", "\x1b[31m", "\ud800", "é", "0" * 64, "classical.lime", "__init__", "neid", "os", "x2", "1e5"),
    *([], {}, [[]], [1], [1, 2], [None] * 5, [0.5] * 16, ["x"], {"a": {"b": []}}, {"": 0}, [[1e400]], [10**400]),
)
RAW = (
    *(
        "[" * 3000,
        '{"a":' * 3000,
        "9" * 5000,
        "-" * 50,
        "&a [*a]",
        "!!python/object:os.system x",
        "2001-99-99",
        "1:60:61",
    ),
    *(
        "!!binary x",
        "!!timestamp x",
        "!!int x",
        "!!float .nan",
        "? [a]\n: b",
        "<<: *x",
        "<<: [1]",
        "%YAML 9.9",
        "\t",
        "---\n...",
    ),
    *(
        "!!set {a}",
        "!!omap [a: 1]",
        "0x" + "f" * 5000,
        "1_000_000",
        "0b",
        "&a 1",
        "*a",
        "NaN",
        "Infinity",
        "1" + "0" * 400,
    ),
)
"""Texts that stand for a value as they are."""
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
"""A billion laughs."""
NAMES = (
    *("../x", "/x", "a/../../x", "\\x", "C:x", "x\0y", "a//b", ".", "..", "a/", "A", "a", "é", "e\u0301", "x" * 300),
    *("a/b/" * 60, "con", "x.", "x ", "-x", "\x1b[2J", "a/./b", "~", "$HOME", "", "\u202ex", "..\\x", "a:b"),
)


def change_for(data: bytes) -> Callable[[bytearray, random.Random], bytes] | None:
    """What changes a file of this kind; None for kinds that are not known."""
    if data[:4] == b"PK\x03\x04":
        return torch_archive if b"data.pkl" in data[:300] or b"/version" in data else archive
    if data[8:10] == b'{"':
        return safetensors
    if data[:1] == b"#" and b"\n" in data[:40]:
        return named
    return document if data[:1] in (b"{", b"[") else None


def named(data: bytearray, rng: random.Random) -> bytes:
    """A file whose first line says which reader it is for."""
    head, _, body = bytes(data).partition(b"\n")
    settings = re.match(rb"[a-z_]+:", body) is not None
    change = yaml if settings else lines if b"\n" in body.strip() else change_for(body) or lines
    return head + b"\n" + bytes(change(bytearray(body), rng))


def lines(data: bytearray, rng: random.Random) -> bytes:
    """One line of several changed, doubled, moved or left out."""
    found = bytes(data).split(b"\n")
    at = rng.randrange(len(found))
    choice = rng.randrange(6)
    if choice == 0:
        found[at:at] = [found[at]] * rng.choice((1, 100))
    elif choice == 1:
        found.insert(rng.randrange(len(found)), found.pop(at))
    elif choice == 2:
        found[at] = rng.choice(RAW).encode()
    elif found[at][:1] in (b"{", b"["):
        found[at] = document(bytearray(found[at]), rng)
    elif b"," in found[at]:
        cells = found[at].split(b",")
        cells[rng.randrange(len(cells))] = rng.choice(RAW).encode()
        found[at] = b",".join(cells)
    return b"\n".join(found)


def document(data: bytearray, rng: random.Random) -> bytes:
    """A JSON document with a value of it replaced, left out or added."""
    content = planted(json.loads(data), rng)
    text = json.dumps(content)
    if rng.random() < 0.25:
        places = [*re.finditer(r'[\d.]+|"[^"]*"|null|true|false', text)]
        place = rng.choice(places)
        text = text[: place.start()] + rng.choice(RAW) + text[place.end() :]
    return text.encode("utf-8", "surrogatepass")


def planted(content: Any, rng: random.Random) -> Any:
    """The content with one hostile value somewhere; texts that are JSON themselves are changed inside."""
    if isinstance(content, str) and content[:1] in ("{", "[") and rng.random() < 0.8:
        return json.dumps(planted(json.loads(content), rng))
    if not isinstance(content, dict | list) or not content or rng.random() < 0.1:
        return rng.choice(VALUES)
    key = rng.choice([*content] if isinstance(content, dict) else range(len(content)))
    choice = rng.random()
    if choice < 0.1:
        del content[key]
    elif choice < 0.2 and isinstance(content, dict):
        content[rng.choice([text for text in VALUES if isinstance(text, str)])] = rng.choice(VALUES)
    elif choice < 0.25 and isinstance(content, list):
        content[:] = content * rng.choice((2, 50))
    else:
        content[key] = planted(content[key], rng)
    return content


def yaml(data: bytearray, rng: random.Random) -> bytes:
    """A line of settings with another value."""
    found = bytes(data).decode("utf-8", "replace").split("\n")
    at = rng.randrange(len(found))
    name = found[at].partition(":")[0]
    value = rng.choice(RAW) if rng.random() < 0.5 else json.dumps(rng.choice(VALUES))
    found[at] = f"{name}: {value}"
    if rng.random() < 0.05:
        found.insert(0, LAUGHS + f"{name}: *i")
    if rng.random() < 0.1:
        found.append(
            f"{rng.choice(('params', 'loss', 'betas', 'discriminator', 'model'))}: {json.dumps(rng.choice(VALUES))}"
        )
    return "\n".join(found).encode("utf-8", "surrogatepass")


def safetensors(data: bytearray, rng: random.Random) -> bytes:
    """The header changed and its length made right, or only the length."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.1:
        return rng.choice((0, 1, 2**24, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little") + data[8:]
    head = document(data[8 : 8 + length], rng)
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def archive(data: bytearray, rng: random.Random) -> bytes:
    """Members with hostile names, kinds and sizes; put together anew, or fields of the directory overwritten."""
    if rng.random() < 0.4:
        return directory_field(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        members = [(info, zipped.read(info)) for info in zipped.infolist()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as zipped:
        for info, content in members * rng.choice((1, 1, 2)):
            zipped.writestr(info, content)
        info = zipfile.ZipInfo("x")
        info.filename = rng.choice(NAMES)
        info.external_attr = rng.choice((0, 0o644, 0o120777, 0o020666, 0o010644, 0o040755, 0o100644)) << 16
        info.compress_type = rng.choice((0, 8, 8, 12, 14))
        zipped.writestr(info, rng.choice((b"", b"../../target", bytes(1 << 20), b"x" * 100)))
    return out.getvalue()


def directory_field(data: bytearray, rng: random.Random) -> bytes:
    """A number of a member's entry in the central directory, or of its end."""
    places = [found.start() for found in re.finditer(rb"PK\x01\x02|PK\x05\x06|PK\x03\x04", bytes(data))]
    at = rng.choice(places) + rng.choice((6, 8, 10, 14, 16, 20, 24, 28, 30, 32, 38, 42))
    data[at : at + 4] = rng.choice((0, 1, 8, 99, 255, 65535, 2**20, 2**31, 2**32 - 1)).to_bytes(4, "little")
    return data


def torch_archive(data: bytearray, rng: random.Random) -> bytes:
    """The pickle inside a PyTorch file changed, or how it is packed."""
    if rng.random() < 0.3:
        return directory_field(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        members = {name: bytearray(zipped.read(name)) for name in zipped.namelist()}
    name = next(name for name in members if name.endswith("data.pkl")) if rng.random() < 0.8 else rng.choice([*members])
    body = members[name]
    for _ in range(rng.choice((1, 2, 4))):
        at = rng.randrange(len(body))
        body[at : at + rng.randrange(2)] = bytes(
            [rng.choice(b"KMJcRqht(.}]NuX\x85\x86\x87\x80\x93\x8a\xff\x00QsGaeobi")]
        )
    if rng.random() < 0.2:
        members[rng.choice([*members])] += bytes(1 << 22)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as zipped:
        for name, content in members.items():
            zipped.writestr(name, bytes(content))
    return out.getvalue()
