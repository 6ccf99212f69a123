"""Files of one small picture, each with something wrong or far too much beside its pixels."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8))


def saved(kind: str, **options: object) -> bytes:
    """The picture as a file without faults."""
    file = io.BytesIO()
    PICTURE.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*notes: bytes, late: bool = False) -> bytes:
    """The picture with chunks before its pixels, or behind them."""
    whole = saved("PNG")
    place = len(whole) - 12 if late else 33
    return whole[:place] + b"".join(notes) + whole[place:]


def jpeg(marker: int, body: bytes) -> bytes:
    """The picture with one more segment."""
    whole = saved("JPEG")
    return whole[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + whole[2:]


def webp(**notes: bytes) -> bytes:
    """The picture with notes of the same lengths, none of which means anything."""
    whole = saved("WEBP", lossless=True, **notes)
    for note in notes.values():
        whole = whole.replace(note, b"\xff" * len(note))
    return whole


EXIF = Image.Exif()
EXIF[0x0112] = 1
BOMB = zlib.compress(bytes(80_000_000), 1)

SPOILT = {
    "PNG: EXIF that is none": png(chunk(b"eXIf", b"garbage")),
    "PNG: EXIF without end": png(chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0" * 3)),
    "PNG: EXIF behind the pixels": png(chunk(b"eXIf", b"garbage"), late=True),
    "PNG: a text of 2 MB": png(chunk(b"tEXt", b"k\0" + b"x" * 2_000_000)),
    "PNG: 80 MB in a packed text": png(chunk(b"zTXt", b"k\0\0" + BOMB)),
    "PNG: 80 MB in a packed international text": png(chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)),
    "PNG: many texts": png(*(chunk(b"tEXt", b"k%d\0" % k + bytes(900_000)) for k in range(80))),
    "PNG: a text with a wrong checksum": png(chunk(b"tEXt", b"k\0v")[:-1] + b"\0"),
    "PNG: an unknown packing of the profile": png(chunk(b"iCCP", b"name\0\7garbage")),
    "PNG: no size of a pixel": png(chunk(b"pHYs", b"\0")),
    "PNG: no gamma": png(chunk(b"gAMA", b"")),
    "PNG: no chromaticities": png(chunk(b"cHRM", b"\0")),
    "PNG: no intent": png(chunk(b"sRGB", b"")),
    "PNG: half a transparent colour": png(chunk(b"tRNS", b"\0")),
    "PNG: an animation that is none": png(chunk(b"acTL", b"\0")),
    "PNG: a chunk of nobody's": png(chunk(b"prVt", b"\xff" * 1_000)),
    "JPEG: EXIF that is none": jpeg(0xE1, b"Exif\0\0garbage"),
    "JPEG: EXIF cut short": jpeg(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\1"),
    "JPEG: EXIF beyond its end": jpeg(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\xff\xff\xff\xff"),
    "JPEG: a profile cut short": jpeg(0xE2, b"ICC_PROFILE\0\xff"),
    "JPEG: several pictures that are not there": jpeg(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    "JPEG: Photoshop's notes cut short": jpeg(0xED, b"Photoshop 3.0\x008BIM\x03\xed\xff\xff\xff\xff\xff"),
    "JPEG: XMP that is no XML": jpeg(0xE1, b"http://ns.adobe.com/xap/1.0/\0<bro"),
    "JPEG: Adobe's segment cut short": jpeg(0xEE, b"Adobe\0"),
    "JPEG: JFIF's segment cut short": jpeg(0xE0, b"JFIF\0"),
    "JPEG: a comment in no encoding": jpeg(0xFE, b"\xff" * 60_000),
    "WebP: EXIF that is none": webp(exif=EXIF.tobytes()),
    "WebP: a profile and XMP that are none": webp(icc_profile=b"profile" * 9, xmp=b"<x:xmpmeta/>"),
    "GIF: a comment of 100 kB": saved("GIF", comment=b"x" * 100_000),
}  # fmt: skip
