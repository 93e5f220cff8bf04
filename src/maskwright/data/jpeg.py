"""What a JPEG file says before its pixels: size, orientation, and where the first scan begins."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
_APP1, _SCAN = 0xE1, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def is_jpeg(data: bytes) -> bool:
    """Return whether a file's bytes begin like a JPEG's."""
    return data[:3] == b"\xff\xd8\xff"


def scan_start(data: bytes) -> int:
    """Return where the first scan begins: past the segments that may hold a thumbnail with an end of its own.

    Inside a scan, a marker byte is always followed by 0, so the next end marker there is the image's.
    """
    place = 2
    for _, place in _segments(data):  # noqa: B007  the last one counts
        pass
    return min(place, len(data))


def size_and_orientation(data: bytes) -> tuple[tuple[int, int], int] | None:
    """Return (height, width) as stored and the EXIF orientation (1 if there is none), None if no frame is there."""
    size, orientation = None, 1
    for marker, place in _segments(data):
        if marker in _FRAMES and place + 9 <= len(data):
            size = (
                int.from_bytes(data[place + 5 : place + 7], "big"),
                int.from_bytes(data[place + 7 : place + 9], "big"),
            )
        elif marker == _APP1 and data[place + 4 : place + 10] == _EXIF:
            orientation = _orientation(data[place + 4 : place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")])
    return None if size is None or 0 in size else (size, orientation)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of each segment, at last that of the first scan or of where the segments break off."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _SCAN:
        if data[place + 1] == 0xFF:  # filling
            place += 1
            continue
        yield data[place + 1], place
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    yield _SCAN, place


def _orientation(exif: bytes) -> int:
    found = Image.Exif()
    try:
        found.load(exif)
        return int(found.get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError):
        return 1
