"""What stands beside the pixels survives: orientation (applied once), EXIF, XMP, profile, resolution."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from picture_files import PHOTO, SRGB, XMP, chunk, exif, noise, pillow, png16, reopened, turned
from PIL import Image, IptcImagePlugin

from lowlight_cli import picture
from lowlight_cli.errors import PictureError
from lowlight_cli.picture import avif, tiff
from lowlight_cli.picture.xmp import clean_xmp


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "png16", "tiff16"])
def test_orientation_is_applied_once_and_said_to_be_1(format: str, orientation: int) -> None:
    array = noise(4, 6, 3)
    if format == "png16":
        array = array.astype(np.uint16) * 257
        encoded = png16(array, (b"eXIf", exif(orientation).tobytes()[6:]))
    elif format == "tiff16":
        array = array.astype(np.uint16) * 257
        encoded = picture.encode(picture.from_array(array), "tiff")
        encoded = tagged_tiff(encoded, orientation)
    elif format == "TIFF":
        encoded = pillow(array, "TIFF", tiffinfo={274: orientation})
    else:
        options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": "4:4:4"}
        encoded = pillow(array, format, exif=exif(orientation), **({} if format == "PNG" else options))
        array = np.asarray(reopened(encoded))
    marks = np.arange(24, dtype=np.uint8).reshape(4, 6)
    expected = array.reshape(24, 3)[turned(marks, orientation)]
    found = picture.load(encoded)
    assert np.array_equal(found.pixels, expected)
    again = picture.load(picture.encode(found, "png"))
    assert np.array_equal(again.pixels, expected)
    assert reopened(picture.encode(found, "png")).getexif().get(274, 1) == 1


def tagged_tiff(encoded: bytes, orientation: int) -> bytes:
    """`encoded` with an orientation in the place of its planar configuration, whose 1 is the default."""
    start = int.from_bytes(encoded[4:8], "little")
    planar = struct.pack("<HHIHH", 284, 3, 1, 1, 0)
    assert encoded.count(planar, start) == 1
    head, tail = encoded[:start], encoded[start:]
    return head + tail.replace(planar, struct.pack("<HHIHH", 274, 3, 1, orientation, 0))


def test_metadata_behind_the_pixels_of_a_png_count_too() -> None:
    for encoded in (pillow(PHOTO, "PNG"), png16(PHOTO.astype(np.uint16))):
        late = encoded[:-12] + chunk(b"eXIf", exif(6).tobytes()[6:]) + encoded[-12:]
        assert np.array_equal(picture.load(late).pixels, np.rot90(picture.load(encoded).pixels, -1))


def test_orientation_in_xmp_alone_is_applied_once() -> None:
    array = noise(4, 6, 3)
    for encoded in (pillow(array, "TIFF", tiffinfo={700: XMP}), pillow(array, "WEBP", lossless=True, xmp=XMP)):
        found = picture.load(encoded)
        assert np.array_equal(found.pixels, np.rot90(array, -1))
        assert b'tiff:Orientation="1"' in found.xmp


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "png16"])
def test_metadata_survive_load_and_save(source: str, target: str) -> None:
    given = {"exif": exif().tobytes(), "icc_profile": SRGB, "dpi": (300, 300)}
    if source == "png16":
        packed = b"p\0\0" + zlib.compress(SRGB)
        chunks = (b"iCCP", packed), (b"eXIf", exif().tobytes()[6:]), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        encoded = png16(noise(6, 4, 3, kind=np.uint16), (b"pHYs", struct.pack(">IIB", 11811, 11811, 1)), *chunks)
    else:
        encoded = pillow(PHOTO, source, **given)
    found = reopened(picture.encode(picture.load(encoded), target))
    assert found.info["icc_profile"] == SRGB
    block = found.getexif()
    assert (block[271], block[306]) == ("Camera", "2026:11:20 19:00:00")
    assert block.get_ifd(34665)[36867] == "2026:11:20 18:59:59"
    assert block.get_ifd(34665)[37500] == b"maker note"
    assert [float(part) for part in block.get_ifd(34853)[2]] == [52, 31, 12.5]
    if source in ("JPEG", "PNG", "TIFF", "png16") and target in ("jpg", "png", "tiff"):
        assert found.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    if source == "png16":
        assert b"night" in found.info["xmp"]
        assert b'tiff:Orientation="1"' in found.info["xmp"]


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
def test_no_resolution_is_made_up(source: str) -> None:
    encoded = picture.encode(picture.load(pillow(PHOTO, source)), "tiff")
    assert not {282, 283, 296} & {*reopened(encoded).tag_v2}


def test_the_thumbnail_of_the_dark_picture_is_dropped_and_sizes_follow_the_turn() -> None:
    thumbnail = pillow(PHOTO, "JPEG")
    block = exif(6).tobytes()
    at = struct.unpack_from(">H" if block[6:8] == b"MM" else "<H", block, 14)[0] * 12 + 16
    order = ">" if block[6:8] == b"MM" else "<"
    second = struct.pack(f"{order}HHHIIHHII", 2, 513, 4, 1, len(block) - 6 + 30, 514, 4, 1, len(thumbnail))
    second += struct.pack(f"{order}I", 0)
    block = bytearray(block + second + thumbnail)
    struct.pack_into(f"{order}I", block, at, len(block) - len(thumbnail) - len(second) - 6)
    found = picture.load(pillow(PHOTO, "JPEG", exif=bytes(block)))
    assert b"\xff\xd8" not in found.exif
    read = Image.Exif()
    read.load(found.exif)
    assert not read.get_ifd(1)
    assert (found.width, found.height) == (48, 72)
    assert (read.get_ifd(34665)[40962], read.get_ifd(34665)[40963]) == (48, 72)


def test_exif_that_ends_too_early_still_says_how_to_turn_the_picture() -> None:
    block = bytearray(exif(6).tobytes())
    order = ">" if block[6:8] == b"MM" else "<"
    count = struct.unpack_from(f"{order}H", block, 14)[0]
    struct.pack_into(f"{order}I", block, 16 + 12 * count, 10**8)
    found = picture.load(pillow(PHOTO, "JPEG", exif=bytes(block)))
    assert (found.width, found.height, found.exif) == (48, 72, None)
    assert found.notices == ("The EXIF data are damaged and were dropped.",)


@pytest.mark.parametrize("head", [bytes(8), b"\1\0\0\0\x08\0\0\0", b"XX*\0\x08\0\0\0"])
def test_exif_that_is_no_tiff_block_is_dropped_and_turns_nothing(head: bytes) -> None:
    turn = struct.pack("<HHHII", 1, 274, 3, 1, 6)
    found = picture.load(pillow(PHOTO, "JPEG", exif=b"Exif\0\0" + head + turn + bytes(40)))
    assert (found.width, found.height, found.exif) == (PHOTO.shape[1], PHOTO.shape[0], None)
    assert found.notices == ("The EXIF data are damaged and were dropped.",)
    for format in ("tiff", "png", "avif"):
        picture.load(picture.encode(found, format))


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("deep", [False, True])
def test_an_orientation_of_any_type_moves_nothing_in_a_tiff(kind: int, count: int, deep: bool) -> None:
    array = noise(4, 6, 3).astype(np.uint16) if deep else noise(4, 6, 3)
    size = {1: 1, 2: 1, 3: 2, 4: 4}[kind]
    values = 6 * count * b"".join([(6).to_bytes(size, "little")]) if kind != 2 else b"6" * count
    values = (6).to_bytes(size, "little") * count if kind != 2 else b"6" * count
    pixels, start = array.astype("<u2" if deep else "u1").tobytes(), 8 + len(values) + len(values) % 2
    bits = 16 if deep else 8
    rows = [(256, 3, 1, 6), (257, 3, 1, 4), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, start)]
    place = int.from_bytes(values.ljust(4, b"\0"), "little") if len(values) <= 4 else 8
    rows += [(274, kind, count, place), (277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 1, len(pixels))]
    table = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    head = b"II*\0" + struct.pack("<I", start + len(pixels)) + values.ljust(start - 8, b"\0")
    found = picture.load(head + pixels + table)
    assert np.array_equal(found.pixels, array if kind == 2 else np.rot90(array, -1))


def test_an_exif_directory_outside_of_a_tiff_costs_the_exif_not_the_picture() -> None:
    encoded = bytearray(pillow(PHOTO, "TIFF", tiffinfo={34665: 10**8}))
    found = picture.load(bytes(encoded))
    assert np.array_equal(found.pixels, PHOTO)
    assert found.notices == ("The EXIF data are damaged and were dropped.",)


def test_colour_profiles_that_do_not_fit_are_dropped() -> None:
    gray = picture.load(pillow(PHOTO[..., 0].copy(), "JPEG", icc_profile=SRGB))
    assert gray.icc is None
    assert "profile" in gray.notices[0]
    profile = bytearray(SRGB)
    profile[16:20] = b"GRAY"
    gray = picture.load(pillow(PHOTO[..., 0].copy(), "PNG", icc_profile=bytes(profile)))
    assert gray.icc == bytes(profile)
    assert picture.load(picture.encode(gray, "jpg")).icc == bytes(profile)
    assert picture.losses(gray, "webp") == ("colour profile",)
    assert picture.load(picture.encode(gray, "webp")).icc is None
    veiled = replace(gray, alpha=gray.pixels[..., 0])
    assert picture.losses(veiled, "tiff", 8) == ()
    deep = replace(veiled, pixels=noise(4, 5, 3, kind=np.uint16), alpha=noise(4, 5, 1, kind=np.uint16)[..., 0])
    assert picture.losses(deep, "png") == ()
    for format in ("tiff", "avif"):  # written as colour
        assert "colour profile" in picture.losses(deep, format)
        assert picture.load(picture.encode(deep, format)).icc is None


LINEAR, PQ = (b"gAMA", struct.pack(">I", 100_000)), (b"cICP", bytes([9, 16, 0, 1]))
WIDE = (b"cHRM", struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ((), ""),
        (((b"gAMA", struct.pack(">I", 45455)),), ""),
        ((LINEAR,), "gAMA"),
        ((WIDE,), "cHRM"),
        (((b"sRGB", b"\0"), LINEAR), ""),
        ((PQ,), "cICP"),
        (((b"cICP", bytes([1, 13, 0, 1])), LINEAR), ""),
        (((b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB)), LINEAR), ""),
        (((b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB)), PQ), "cICP"),
    ],
)
def test_a_png_that_says_other_colours_than_srgb_is_told(kind: type, chunks: tuple, told: str) -> None:
    encoded = picture.encode(picture.from_array(noise(4, 5, 3, kind=kind)), "png")
    found = picture.load(encoded[:33] + b"".join(chunk(*part) for part in chunks) + encoded[33:])
    assert [notice.split()[1] for notice in found.notices] == [told] * bool(told)


def test_a_large_profile_of_a_png_is_kept() -> None:
    profile = SRGB + noise(3_000_000).tobytes()
    encoded = picture.encode(picture.from_array(noise(4, 5, 3)), "png")
    encoded = encoded[:33] + chunk(b"iCCP", b"large\0\0" + zlib.compress(profile)) + encoded[33:]
    assert picture.load(picture.encode(picture.load(encoded), "png")).icc == profile


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_channel_of_a_tiff_that_means_nothing_stated_is_dropped_and_told(kind: type) -> None:
    encoded = bytearray(picture.encode(picture.from_array(noise(4, 5, 4, kind=kind)), "tiff"))
    at = encoded.index(struct.pack("<HHIH", 338, 3, 1, 2))
    assert not picture.load(bytes(encoded)).notices
    encoded[at + 8] = 0
    found = picture.load(bytes(encoded))
    assert found.alpha is None
    assert "channel of unstated meaning" in "".join(found.notices)


IIM = b"\x1c\x02\x78\x00\x05Night" + b"\x1c\x02\x19\x00\x03cat"


def captions(encoded: bytes) -> dict:
    return IptcImagePlugin.getiptcinfo(Image.open(io.BytesIO(encoded))) or {}


def photoshop(records: bytes) -> bytes:
    """The segment as it is specified, another resource before it."""
    blocks = b"".join(
        struct.pack(">4sHxxI", b"8BIM", number, len(data)) + data + b"\0" * (len(data) % 2)
        for number, data in ((1061, bytes(16)), (1028, records))
    )
    return struct.pack(">HH", 0xFFED, 16 + len(blocks)) + b"Photoshop 3.0\0" + blocks


def test_iptc_survives_from_jpeg_to_jpeg_and_tiff_and_its_loss_elsewhere_is_told() -> None:
    found = picture.load(pillow(PHOTO, "JPEG", extra=photoshop(IIM)))
    assert found.iptc == IIM
    for format in ("jpg", "tiff"):
        encoded = picture.encode(found, format)
        assert captions(encoded) == {(2, 120): b"Night", (2, 25): b"cat"}
        assert not picture.losses(found, format)
    assert picture.load(picture.encode(found, "jpg")).iptc == IIM
    again = picture.encode(picture.load(picture.encode(found, "tiff")), "tiff")
    assert captions(again) == captions(encoded)
    for format in ("png", "webp", "avif", "bmp", "ppm"):
        assert picture.losses(found, format) == ("IPTC",)


@pytest.mark.parametrize(("size", "lost"), [(65506, ()), (65507, ("IPTC",))])
def test_iptc_that_a_jpeg_segment_cannot_hold_is_left_out_and_told(size: int, lost: tuple[str, ...]) -> None:
    large = replace(picture.from_array(noise(4, 5, 3)), iptc=bytes(size))
    assert picture.losses(large, "jpg") == lost
    assert picture.load(picture.encode(large, "jpg")).iptc == (None if lost else large.iptc)


TEXTS = (("Title", "Nächte"), ("Comment", "first"), ("Comment", "second"), ("Author", "夜"), ("Source", "camera 4"))
TEXT_CHUNKS = (
    (b"tEXt", b"Title\0N\xe4chte"),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"first")),
    (b"tEXt", b"Comment\0second"),
    (b"iTXt", b"Author\0\0\0ja\0\xe8\x91\x97\xe8\x80\x85\0" + "夜".encode()),
    (b"iTXt", b"Source\0\1\0\0\0" + zlib.compress(b"camera 4")),
)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_texts_of_a_png_are_kept_wherever_they_stand_and_their_loss_elsewhere_is_told(kind: type) -> None:
    encoded = picture.encode(picture.from_array(noise(4, 5, 3, kind=kind)), "png")
    before, after = (b"".join(chunk(*part) for part in parts) for parts in (TEXT_CHUNKS[:3], TEXT_CHUNKS[3:]))
    found = picture.load(encoded[:33] + before + encoded[33:-12] + after + encoded[-12:])
    assert found.texts == TEXTS
    again = picture.encode(found, "png")
    assert picture.load(again).texts == TEXTS
    assert reopened(again).text == {"Title": "Nächte", "Comment": "second", "Author": "夜", "Source": "camera 4"}
    assert picture.losses(found, "png") == ()
    for format in ("jpg", "webp", "tiff", "avif", "bmp", "ppm"):
        assert "texts" in picture.losses(found, format, 8)
    assert picture.load(picture.encode(found, "jpg", depth=8)).texts == TEXTS[1:3]


def test_comments_of_a_jpeg_are_kept_byte_for_byte() -> None:
    said = "Straße 4".encode(), "Straße 4".encode("latin-1"), bytes(range(256)), bytes([7]) * 65533
    encoded = pillow(PHOTO, "JPEG")
    encoded = encoded[:2] + b"".join(struct.pack(">HH", 0xFFFE, 2 + len(one)) + one for one in said) + encoded[2:]
    found = picture.load(encoded)
    assert [key for key, _ in found.texts] == ["Comment"] * 4
    assert found.texts[0] == ("Comment", "Straße 4")
    assert [part for kind, part in reopened(picture.encode(found, "jpg")).applist if kind == "COM"] == [*said]
    assert picture.losses(found, "jpg") == ()
    assert picture.load(picture.encode(found, "png")).texts == (found.texts[0],) * 2 + (("Comment", "\7" * 65533),)
    assert picture.losses(found, "png") == picture.losses(found, "webp") == ("texts",)  # bytes of zero
    assert picture.from_pil(reopened(encoded)).texts == found.texts


def test_a_text_that_a_comment_of_a_jpeg_cannot_hold_is_left_out_and_told() -> None:
    long = replace(picture.from_array(noise(4, 5, 3)), texts=(("Comment", "short"), ("Comment", "7" * 65534)))
    assert picture.losses(long, "jpg") == ("texts",)
    assert picture.load(picture.encode(long, "jpg")).texts == long.texts[:1]


def test_what_imagemagick_hides_in_texts_is_read_as_what_it_is() -> None:
    hidden = b"Raw profile type xmp\0\nxmp\n%8d\n" % len(XMP) + XMP.hex().encode()
    encoded = pillow(noise(4, 6, 3), "PNG")
    found = picture.load(encoded[:33] + chunk(b"tEXt", hidden) + encoded[33:])
    assert b'tiff:Orientation="1"' in found.xmp
    assert (found.height, found.width) == (6, 4)
    assert found.texts == ()


def test_content_credentials_are_left_out_and_told() -> None:
    box = b"jumd" + bytes.fromhex("6332706100110010800000aa00389b71") + b"\3c2pa\0"
    store = struct.pack(">I4s", 8 + 4 + len(box), b"jumb") + struct.pack(">I", 4 + len(box)) + box
    segment = b"JP\0\1\0\0\0\1" + store
    jpeg = pillow(PHOTO, "JPEG", extra=struct.pack(">HH", 0xFFEB, 2 + len(segment)) + segment)
    png = pillow(PHOTO, "PNG")
    for encoded in (jpeg, png[:33] + chunk(b"caBX", store) + png[33:]):
        found = picture.load(encoded)
        assert ["C2PA" in notice for notice in found.notices] == [True]
        assert not picture.load(picture.encode(found, found.format)).notices
    assert not picture.load(png).notices


def test_what_a_jpeg_holds_that_nobody_here_reads_is_named() -> None:
    def segment(number: int, body: bytes) -> bytes:
        return struct.pack(">HH", 0xFFE0 + number, 2 + len(body)) + body

    known = [(1, exif().tobytes()), (12, b"Ducky\0\1"), (13, photoshop(IIM)[4:]), (14, b"Adobe\0d\0\0\0\0\1")]
    strange = [(1, b"http://ns.adobe.com/xmp/extension/\0more"), (4, b"CAM7\0\1"), (9, b"\0\1"), (4, b"CAM7\0\2")]
    encoded = pillow(PHOTO, "JPEG", icc_profile=SRGB, xmp=XMP)
    quiet = encoded[:2] + b"".join(segment(*part) for part in known) + encoded[2:]
    assert not picture.load(quiet).notices
    (notice,) = picture.load(encoded[:2] + b"".join(segment(*part) for part in known + strange) + encoded[2:]).notices
    assert notice.endswith("left out: APP1 'http://ns.adobe.com/xmp/extension/', APP4 'CAM7', APP9.")


CLAIMS = (
    b'<x:xmpmeta><rdf:Description hdrgm:Version=\'1.0\' GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="2000" '
    b'xmpNote:HasExtendedXMP="0123" dc:title="night">'
    b"<Container:Directory><rdf:Seq>GainMap</rdf:Seq></Container:Directory>"
    b"<GCamera:MicroVideo>1</GCamera:MicroVideo><GCamera:Kept>yes</GCamera:Kept></rdf:Description></x:xmpmeta>"
)


def test_xmp_does_not_speak_of_gain_maps_and_films_that_are_left_out() -> None:
    found = picture.load(pillow(PHOTO, "JPEG", xmp=CLAIMS)).xmp
    rest = b'<rdf:Description dc:title="night"><GCamera:Kept>yes</GCamera:Kept></rdf:Description>'
    assert found == b"<x:xmpmeta>" + rest + b"</x:xmpmeta>"


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"<a><Camera:MotionPhotoVersion>1</Camera:MotionPhotoVersion>b</a>", b"<a>b</a>"),
        (b"<a Camera:MotionPhoto='1'\n hdrgm:GainMapMax=\"2\" c='d'/>", b"<a\n c='d'/>"),
        (
            b"<Container:Directory rdf:x='y'/><dc:y>keep</dc:y><Container:Directory>no</Container:Directory>",
            b"<dc:y>keep</dc:y>",
        ),
        (b"<xmp:Thumbnails>never closed <dc:y>keep</dc:y>", b"<xmp:Thumbnails>never closed <dc:y>keep</dc:y>"),
        (b"<hdrgm:Version", b"<hdrgm:Version"),
        (b"<hdrgm:Versions>1</hdrgm:Versions>", b"<hdrgm:Versions>1</hdrgm:Versions>"),
    ],
)
def test_what_is_taken_out_of_xmp_is_no_more_than_what_is_false(raw: bytes, left: bytes) -> None:
    assert clean_xmp(raw) == (left, None)


def test_what_stands_behind_the_end_of_a_jpeg_is_told() -> None:
    encoded = pillow(PHOTO, "JPEG")
    for filled in (bytes(50), b"\r\n", b"\xff\xff "):  # cameras fill up blocks
        assert not picture.load(encoded + filled).notices
    (notice,) = picture.load(encoded + b"\0\0\0\x18ftypmp42" + bytes(100)).notices
    assert "112 bytes" in notice


def test_sizes_in_exif_follow_a_larger_picture() -> None:
    small = picture.load(pillow(PHOTO, "JPEG", exif=exif().tobytes()))
    read = Image.Exif()
    read.load(picture.resized(small.exif, 70_000, 5))
    assert (read.get_ifd(34665)[40962], read.get_ifd(34665)[40963]) == (70_000, 5)
    before = Image.Exif()
    before.load(small.exif)
    assert {tag: value for tag, value in read.items() if tag not in (256, 257)} == {
        tag: value for tag, value in before.items() if tag not in (256, 257)
    }
    broken = bytearray(small.exif)
    place = tiff.directory(broken, tiff.first(broken))[0][tiff.GPS_IFD].at
    broken[place : place + 4] = b"\x7f" * 4
    assert picture.resized(bytes(broken), 9, 9) != broken
    assert picture.resized(None, 1, 1) is None
    assert picture.resized(b"II*\0", 1, 1) == b"II*\0"


def avif_of(primaries: int, transfer: int, **options: object) -> bytes:
    encoded = bytearray(pillow(PHOTO, "AVIF", **options))
    at = encoded.index(b"colrnclx")
    struct.pack_into(">HH", encoded, at + 8, primaries, transfer)
    return bytes(encoded)


def test_colours_that_an_avif_states_are_told_or_refused() -> None:
    assert not picture.load(avif_of(1, 13)).notices
    (notice,) = picture.load(avif_of(12, 13)).notices
    assert "Display P3" in notice
    for transfer, name in ((16, "PQ"), (18, "HLG"), (8, "linear")):
        with pytest.raises(PictureError, match=rf"AVIF holds HDR values \({name}"):
            picture.load(avif_of(9, transfer))


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def test_colours_of_an_avif_are_those_of_its_main_picture() -> None:
    def colr(primaries: int, transfer: int) -> bytes:
        return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, 0, 128))

    gain_map, main = colr(9, 16), colr(12, 13)
    ipma = box(b"ipma", bytes(4), struct.pack(">I", 2), b"\0\2\1\x81", b"\0\1\2\2\x83")
    iprp = box(b"iprp", box(b"ipco", gain_map, box(b"ispe", bytes(12)), main), ipma)
    data = box(b"ftyp", b"avif") + box(b"meta", bytes(4), box(b"pitm", bytes(4), b"\0\1"), iprp)
    assert avif.colours(data) == (12, 13)
    assert avif.colours(data.replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\3")) == (None, None)


def test_boxes_of_an_avif_that_lead_nowhere_tell_no_colours() -> None:
    encoded = pillow(PHOTO, "AVIF")
    assert avif.colours(encoded) != (None, None)
    for name in (b"meta", b"pitm", b"iprp", b"ipma", b"ipco", b"nclx"):
        assert avif.colours(encoded.replace(name, b"free")) == (None, None)


def test_the_profile_of_a_bmp_is_kept() -> None:
    plain = pillow(PHOTO, "BMP")
    start, size = int.from_bytes(plain[10:14], "little"), len(plain) - int.from_bytes(plain[10:14], "little")
    head = bytearray(plain[:14] + (124).to_bytes(4, "little") + plain[18:54].ljust(120, b"\0"))
    head[70:74] = b"DEBM"
    struct.pack_into("<I", head, 10, 138)
    struct.pack_into("<II", head, 14 + 112, 124 + size, len(SRGB))
    found = picture.load(bytes(head) + plain[start:] + SRGB)
    assert found.icc == SRGB
    assert np.array_equal(found.pixels, PHOTO)
    assert picture.losses(found, "bmp") == ("colour profile",)
    for cut in (1, 300):
        assert picture.load((bytes(head) + plain[start:] + SRGB)[:-cut]).icc is None
    head[70:74] = b"BGRs"
    assert picture.load(bytes(head) + plain[start:] + SRGB).icc is None


@pytest.mark.parametrize("channels", [2, 4])
def test_planes_that_pillow_puts_together_wrongly_are_refused(channels: int) -> None:
    planes = noise(channels, 20, 30)
    packed = [zlib.compress(plane.tobytes()) for plane in planes]
    places = [8 + sum(map(len, packed[:number])) for number in range(channels)]
    tags = {256: [30], 257: [20], 258: [8] * channels, 259: [8], 262: [1 if channels == 2 else 2], 277: [channels]}
    tags |= {278: [20], 284: [2], 338: [2 if channels == 2 else 1]}
    entries = [tiff.integers(tag, tiff.SHORT, values, "<") for tag, values in tags.items()]
    entries += [tiff.integers(tag, tiff.LONG, values, "<") for tag, values in ((273, places), (279, map(len, packed)))]
    body = b"".join(packed)
    encoded = tiff.header("<", 8 + len(body)) + body + tiff.build(entries, "<", 8 + len(body))
    with pytest.raises(PictureError, match="planes 2"):
        picture.load(encoded)
