"""HDF5's own checksum of its metadata, so that damage can be sealed up again and be believed.

Bob Jenkins' lookup3 (``hashlittle``), which the format specification names; an object's last four
bytes are that of those before.
"""

from __future__ import annotations

__all__ = ["lookup3", "seal", "sealed_ranges"]

_MASK = 0xFFFFFFFF
_SIGNATURES = (b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN", b"FAHD",
               b"FADB", b"EAHD", b"EAIB", b"EASB", b"EADB", b"SMTB", b"SMLI", b"FSHD", b"FSSE")  # fmt: skip
_LONGEST = 2048


def lookup3(data: bytes) -> int:
    """hashlittle with an initial value of zero."""
    length = len(data)
    a = b = c = (0xDEADBEEF + length) & _MASK
    at = 0
    while length - at > 12:
        a = (a + int.from_bytes(data[at : at + 4], "little")) & _MASK
        b = (b + int.from_bytes(data[at + 4 : at + 8], "little")) & _MASK
        c = (c + int.from_bytes(data[at + 8 : at + 12], "little")) & _MASK
        a = ((a - c) & _MASK) ^ _turn(c, 4)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _turn(a, 6)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _turn(b, 8)
        b = (b + a) & _MASK
        a = ((a - c) & _MASK) ^ _turn(c, 16)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _turn(a, 19)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _turn(b, 4)
        b = (b + a) & _MASK
        at += 12
    rest = data[at:].ljust(12, b"\0")
    if at == length:
        return c
    a = (a + int.from_bytes(rest[:4], "little")) & _MASK
    b = (b + int.from_bytes(rest[4:8], "little")) & _MASK
    c = (c + int.from_bytes(rest[8:], "little")) & _MASK
    c = ((c ^ b) - _turn(b, 14)) & _MASK
    a = ((a ^ c) - _turn(c, 11)) & _MASK
    b = ((b ^ a) - _turn(a, 25)) & _MASK
    c = ((c ^ b) - _turn(b, 16)) & _MASK
    a = ((a ^ c) - _turn(c, 4)) & _MASK
    b = ((b ^ a) - _turn(a, 14)) & _MASK
    return ((c ^ b) - _turn(b, 24)) & _MASK


def sealed_ranges(content: bytes) -> list[tuple[int, int]]:
    """First byte and place of the checksum of everything in a good file that has one."""
    found = []
    if content[8:9] in (b"\2", b"\3"):
        found.append((0, 44))
    for signature in _SIGNATURES:
        at = content.find(signature)
        while at >= 0:
            for end in range(at + 6, min(at + _LONGEST, len(content) - 3)):
                wanted = int.from_bytes(content[end : end + 4], "little")
                if lookup3(content[at:end]) == wanted:
                    found.append((at, end))
                    break
            at = content.find(signature, at + 1)
    return found


def seal(content: bytearray, ranges: list[tuple[int, int]]) -> None:
    """Make the checksums of these ranges right, whatever has become of what is in them."""
    for first, end in ranges:
        if end + 4 <= len(content):
            content[end : end + 4] = lookup3(bytes(content[first:end])).to_bytes(4, "little")


def _turn(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK
