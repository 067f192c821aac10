"""What Pillow does not tell of an AVIF: its colours, and the size that the pixels inside have, for its header may say
another size, and the decoder allocates this one.

An AVIF is an ISO file: boxes within boxes. `iinf` names its items, `iloc` says where their bytes are, and those of the
kind `av01` begin with an AV1 sequence header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lowlight_cli.picture import checks

Box = tuple[bytes, int, int]
"""Kind, begin and end of the content."""

MOST_PARTS = 10_000
"""Of all items; encoders write one for each tile of a grid."""

LONGEST_IPMA = 1 << 20
"""Bytes of the box that says which properties items have; Python reads each."""


def check(data: bytes, limit: int) -> None:
    """Refuse image sequences, and pictures or grids of them with a part of more than `limit` pixels."""
    boxes = _inner(data, 0, len(data))
    if b"moov" in boxes:
        checks.refuse_frames("several", "an animation (AVIF)")
    if b"meta" not in boxes:
        return
    begin, end = boxes[b"meta"]
    inner = _inner(data, begin + 4, end)
    try:
        coded, left = _coded_items(data, *inner[b"iinf"]), 2 * len(data)
        for item, parts in _places(data, *inner[b"iloc"], inner.get(b"idat", (0, 0))[0]):
            if item in coded:
                content = _content(data, parts)
                left -= len(content)
                if left < 0:
                    raise checks.damaged("items of its AVIF lie one over the other")
                for width, height in _sizes(content):
                    checks.check_size(width, height, limit)
    except (KeyError, IndexError, struct.error):
        raise checks.damaged("its AVIF boxes point outside each other") from None


def colours(data: bytes) -> tuple[int | None, int | None]:
    """The primaries and the transfer function of the main picture as numbers of ITU-T H.273, None where it tells
    none."""
    try:
        meta = _inner(data, 0, len(data))[b"meta"]
        parts = _inner(data, meta[0] + 4, meta[1])
        begin, _ = parts[b"pitm"]
        item = int.from_bytes(data[begin + 4 : begin + (6 if data[begin] == 0 else 8)])
        properties = _inner(data, *parts[b"iprp"])
        wanted = _properties(data, *properties[b"ipma"], item)
        for number, (kind, at, _) in enumerate(_boxes(data, *properties[b"ipco"]), 1):
            if number in wanted and kind == b"colr" and data[at : at + 4] == b"nclx":
                return struct.unpack_from(">HH", data, at + 4)
    except (KeyError, IndexError, struct.error):
        pass
    return None, None


def _inner(data: bytes, begin: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Begin and end of the content of the boxes between two places, by kind; a meta box has one of each."""
    return {kind: (at, stop) for kind, at, stop in _boxes(data, begin, end)}


def _properties(data: bytes, begin: int, end: int, item: int) -> set[int]:
    """Numbers, from 1 on, of the properties that an `ipma` box gives an item."""
    reader = _Bits(data[begin : min(end, begin + LONGEST_IPMA)])
    version, flags = reader.take(8), reader.take(24)
    for _ in range(reader.take(32)):
        of = reader.take(16 if version == 0 else 32)
        found = set()
        for _ in range(reader.take(8)):
            reader.take(1)  # essential
            found.add(reader.take(15 if flags & 1 else 7))
        if of == item:
            return found
    return set()


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """The boxes that stand one after the other between two places."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= end:
            head, size = 16, struct.unpack_from(">Q", data, at + 8)[0]
        stop = end if size == 0 else min(end, at + size)
        if stop < at + head:
            return
        yield kind, at + head, stop
        at = stop


def _coded_items(data: bytes, begin: int, end: int) -> set[int]:
    """Numbers of the items that are AV1 pictures."""
    found = set()
    for kind, at, _ in _boxes(data, begin + (6 if data[begin] == 0 else 8), end):
        wide = data[at] >= 3
        number, _, name = struct.unpack_from(">IH4s" if wide else ">HH4s", data, at + 4)
        if kind == b"infe" and name == b"av01":
            found.add(number)
    return found


def _places(data: bytes, begin: int, end: int, idat: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(item, its parts as (start, length)) of an `iloc` box; lengths of 0 reach to the end of the file."""
    reader = _Bits(data[begin:end])
    version, _ = reader.take(8), reader.take(24)
    sizes = [reader.take(4) * 8 for _ in range(4)]  # of offset, length, base, index
    left = MOST_PARTS
    for _ in range(reader.take(32 if version == 2 else 16)):
        item = reader.take(32 if version == 2 else 16)
        method = reader.take(16) & 15 if version else 0
        reader.take(16)
        base = reader.take(sizes[2]) + (idat if method == 1 else 0)
        parts, count = [], reader.take(16)
        left -= count
        if left < 0:
            raise checks.damaged(f"the items of its AVIF have more than {MOST_PARTS} parts")
        for _ in range(count):
            reader.take(sizes[3] if version else 0)
            parts.append((base + reader.take(sizes[0]), reader.take(sizes[1])))
        yield item, parts


def _content(data: bytes, parts: list[tuple[int, int]]) -> bytes:
    """The bytes of an item, no more than the file has: its parts may overlap."""
    found = bytearray()
    for start, length in parts:
        room = len(data) - len(found)
        found += data[start : start + min(length or room, room)]
    return bytes(found)


def _sizes(stream: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) of every sequence header among the units (OBU) of an AV1 stream."""
    at = 0
    while at < len(stream):
        head = stream[at]
        at += 2 if head & 4 else 1
        size = len(stream) - at
        if head & 2:
            size = 0
            for shift in range(0, 56, 7):
                size |= (stream[at] & 127) << shift
                at += 1
                if not stream[at - 1] & 128:
                    break
        if head >> 3 & 15 == 1:
            yield _size(_Bits(stream[at : at + size]))
        at += size


def _size(reader: _Bits) -> tuple[int, int]:
    """(width, height) of a sequence header; the names are those of the AV1 specification, 5.5."""
    reader.take(4)  # seq_profile, still_picture
    if reader.take(1):  # reduced_still_picture_header
        reader.take(5)
    else:
        delay = _timing(reader) if reader.take(1) else 0
        display = reader.take(1)
        for _ in range(reader.take(5) + 1):  # operating points
            reader.take(12)
            reader.take(1 if reader.take(5) > 7 else 0)
            if delay and reader.take(1):
                reader.take(2 * delay + 1)
            if display and reader.take(1):
                reader.take(4)
    across, down = reader.take(4) + 1, reader.take(4) + 1
    return reader.take(across) + 1, reader.take(down) + 1


def _timing(reader: _Bits) -> int:
    """Skip timing_info and decoder_model_info; gives the length of buffer delays, 0 without a decoder model."""
    reader.take(64)
    if reader.take(1):  # uvlc
        zeros = 0
        while not reader.take(1):
            zeros += 1
        reader.take(zeros)
    if not reader.take(1):
        return 0
    delay = reader.take(5) + 1
    reader.take(42)
    return delay


class _Bits:
    """Numbers of any number of bits, the highest bit first; an IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, bits: int) -> int:
        """The next number."""
        begin, end = self.at, self.at + bits
        if end > 8 * len(self.data):
            raise IndexError(end)
        self.at = end
        part = int.from_bytes(self.data[begin // 8 : -(-end // 8)])
        return part >> (-end % 8) & ((1 << bits) - 1)
