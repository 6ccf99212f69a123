"""What in the file of a picture is the picture: a damaged or endless note beside it is no reason to refuse it.

Cameras, editors and web sites write notes of a dozen kinds into PNG, JPEG and WebP, and libraries read them before the
pixels. Only the camera's own (EXIF) is of use here, since it says which way is up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
PNG_PARTS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"}
TRANSPARENT = {0: 2, 2: 6}
"""Bytes that name the transparent colour of a grey PNG and of one in colours; palettes have any number."""

JPEG = b"\xff\xd8"
START_OF_SCAN = 0xDA
LEAST = {0xE0: 14, 0xEE: 12}
"""Bytes of the two segments that say how a JPEG's colours are meant (JFIF, Adobe): with fewer they say nothing."""

ANIMATION, ALPHA, EXIF = 0x02, 0x10, 0x08
"""Flags of an extended WebP: those that stay."""


def pixels_alone(content: bytes) -> bytes:
    """The content of a picture's file without notes, but for EXIF; of another kind of file as it is."""
    if content.startswith(PNG):
        colours = TRANSPARENT.get(int.from_bytes(content[25:26], "big"), 0)
        return PNG + b"".join(
            chunk
            for kind, chunk in _png_chunks(content)
            if kind in PNG_PARTS and not (kind == b"tRNS" and len(chunk) < 12 + colours)
        )
    if content.startswith(JPEG):
        return _jpeg_alone(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_alone(content)
    return content


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk, the last as far as it goes."""
    at = len(PNG)
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], content[at : at + 12 + length]
        at += 12 + length


def _jpeg_alone(content: bytes) -> bytes:
    kept, at = [JPEG], len(JPEG)
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != START_OF_SCAN:
        kind, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        segment = content[at : at + 2 + length]
        if not _is_note(kind, segment[4:]):
            kept.append(segment)
        at += 2 + length
    return b"".join([*kept, content[at:]])


def _is_note(kind: int, body: bytes) -> bool:
    """Whether a segment is an application's (E0 to EF) or a comment (FE), and says nothing of pixels or of up."""
    if kind in LEAST:
        return len(body) < LEAST[kind]
    return kind == 0xFE or (0xE0 <= kind <= 0xEF and not body.startswith(b"Exif\0\0"))


def _webp_alone(content: bytes) -> bytes:
    kept, at = [], 12
    while at + 8 <= len(content):
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        chunk = content[at:end]
        if kind == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & (ANIMATION | ALPHA | EXIF)]) + chunk[9:]
        if kind not in (b"XMP ", b"ICCP"):
            kept.append(chunk)
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body
