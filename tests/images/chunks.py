"""Parts of PNG files."""

import struct
import zlib


def png_chunk(kind, data):
    """A chunk of a PNG file, with its length and checksum."""
    body = kind + data
    checksum = struct.pack(">I", zlib.crc32(body))
    return struct.pack(">I", len(data)) + body + checksum
