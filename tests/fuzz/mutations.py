"""Damaged and hostile files, each made from one of the corpus by a seed."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable

from tests.fuzz.checksums import seal
from tests.fuzz.programs import with_calls

__all__ = ["code_that_touches", "mutant"]

Random = random.Random
Sealed = list[tuple[int, int]]

_INTERESTING = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 4096, 65535, 65536, 2**24, 2**31 - 1, 2**31,
                2**32 - 1, 10**15, 2**40, 2**53, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_ODD = (None, True, "", "\x1b[2J", "../..", "1e400", -1, 0, 1, 0.5, 1e308, -0.0, float("nan"),
        float("inf"), 10**30, 2**63, [], {}, [[]], {"a": 1}, "x" * 10_000)  # fmt: skip
_MARKS = (b"GCOL", b"TREE", b"HEAP", b"SNOD", b"OHDR", b"FRHP", b"FHDB", b"BTLF", b"\x89HDF")


_RAW = (".csv", ".yaml", ".pickle", ".npz", ".json", ".metadata", ".manifest", ".tensors",
        ".parquet", ".arrow")  # fmt: skip


def mutant(seed: int, name: str, files: dict[str, bytes], sealed: Sealed, canary: str) -> bytes:
    """A file made from ``files[name]``.

    Args:
        seed: makes the same file again.
        name: which of the corpus.
        files: the corpus, for parts of other files.
        sealed: the ranges of this file that have a checksum; in half of all cases these are made
            right again, so that the damage is believed.
        canary: the file that hostile ones reach for.
    """
    rng = Random(f"{seed} {name}")
    if name.endswith((".json", ".metadata", ".manifest", ".tensors")) and rng.random() < 0.8:
        return _document(rng, files[name])
    if name.endswith(".npz") and rng.random() < 0.7:
        return _rebuilt(rng, files[name], files)
    if name.endswith(_RAW):
        return _raw(rng, files[name], files)
    if name.endswith((".pt", ".pth")):
        if name.startswith(("exported", "latent")) and rng.random() < 0.9:
            return with_calls(rng, files[name])
        return _checkpoint(rng, files[name], files, canary)
    content = bytearray(files[name])
    length = len(content)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if content:
            _damage(rng, content, files, _place_in_hdf5(rng, content, sealed))
    if len(content) == length and rng.random() < 0.75:
        seal(content, sealed)
    return bytes(content)


def code_that_touches(path: str) -> bytes:
    """Opcodes that leave None on the stack, having run a command: ``os.system("touch ...")``."""
    command = f"touch {path}".encode()
    return b"cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85R0N"


def _place_in_hdf5(rng: Random, content: bytearray, sealed: Sealed) -> int:
    """Where to damage: mostly what describes the file, and not the numbers or the gaps."""
    kind = rng.random()
    if sealed and kind < 0.5:
        first, end = rng.choice(sealed)
        return rng.randrange(first, end)
    if kind < 0.8:
        mark = rng.choice(_MARKS)
        places = []
        at = content.find(mark)
        while at >= 0:
            places.append(at)
            at = content.find(mark, at + 1)
        if places:
            return min(rng.choice(places) + rng.randrange(160), len(content) - 1)
    for _ in range(20):
        at = rng.randrange(len(content))
        if content[at]:
            return at
    return rng.randrange(len(content))


def _damage(rng: Random, content: bytearray, files: dict[str, bytes], at: int) -> None:
    if not content:
        return
    at = min(at, len(content) - 1)
    kind = rng.randrange(20)
    size = rng.choice((1, 2, 4, 8, 16, 64, 256))
    if kind < 6:
        content[at] ^= 1 << rng.randrange(8)
    elif kind < 9:
        content[at] = rng.randrange(256)
    elif kind < 14:
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice(_INTERESTING) % 256**width
        order = rng.choice(("little", "little", "big"))
        _put(content, at, value.to_bytes(width, order))  # type: ignore[arg-type]
    elif kind < 16:
        start = rng.randrange(len(content))
        _put(content, at, bytes(content[start : start + size]))
    elif kind == 16:
        _put(content, at, rng.choice((b"\0", b"\xff")) * size)
    elif kind == 17:
        other = files[rng.choice(sorted(files))]
        start = rng.randrange(len(other))
        _put(content, at, other[start : start + size])
    elif kind == 18:
        content[at : at + rng.choice((0, size))] = rng.randbytes(rng.choice((0, size)))
    else:
        del content[rng.randrange(len(content)) :]


def _put(content: bytearray, at: int, data: bytes) -> None:
    """Over what is there, without making it longer."""
    data = data[: len(content) - at]
    content[at : at + len(data)] = data


def _checkpoint(rng: Random, whole: bytes, files: dict[str, bytes], canary: str) -> bytes:
    ways: list[Callable[[], bytes]] = [
        lambda: _raw(rng, whole, files),
        lambda: _rebuilt(rng, whole, files),
        lambda: _rebuilt(rng, whole, files),
        lambda: _with_code(rng, whole, canary),
        lambda: _with_numbers(rng, whole),
        lambda: _with_unfolding(rng, whole),
    ]
    return rng.choice(ways)()


def _raw(rng: Random, whole: bytes, files: dict[str, bytes]) -> bytes:
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 5))):
        # The lists of members lie at the end.
        near_the_end = rng.random() < 0.3
        first = max(0, len(content) - 1200) if near_the_end else 0
        if content:
            _damage(rng, content, files, rng.randrange(first, len(content)))
    return bytes(content)


def _rebuilt(rng: Random, whole: bytes, files: dict[str, bytes]) -> bytes:
    """One member damaged, and the archive around it right."""
    members = _members(whole)
    pickled = [name for name in members if name.endswith("data.pkl")]
    name = rng.choice(pickled if pickled and rng.random() < 0.8 else sorted(members))
    content = bytearray(members[name])
    first = 128 if name.endswith(".npy") and rng.random() < 0.8 else len(content)  # of its header
    for _ in range(rng.choice((1, 1, 2, 4))):
        if content:
            _damage(rng, content, files, rng.randrange(min(first, len(content))))
    members[name] = bytes(content)
    return _archive(members, rng)


def _document(rng: Random, whole: bytes) -> bytes:
    """JSON of which some values are others, or are missing or there twice."""
    document = json.loads(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        node, depth = document, rng.randrange(12)
        while node:
            key = rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            if depth and isinstance(node[key], dict | list) and node[key]:
                node, depth = node[key], depth - 1
                continue
            kind = rng.randrange(5)
            if kind == 0:
                del node[key]
            elif kind == 1 and isinstance(node, list):
                node.insert(key, node[key])
            else:
                node[key] = copy.deepcopy(rng.choice((*_ODD, document, node)))
            break
    return json.dumps(document).encode()


def _with_code(rng: Random, whole: bytes, canary: str) -> bytes:
    """A command to run: inside the pickle, in another member, or instead of the archive."""
    members = _members(whole)
    code = code_that_touches(canary)
    pickled = next(name for name in members if name.endswith("data.pkl"))
    alone = b"\x80\x02" + code + b"."
    kind = rng.randrange(8)
    if kind < 3:
        content = members[pickled]
        at = rng.choice(_boundaries(content))
        members[pickled] = content[:at] + code + rng.choice((b"", b"0")) + content[at:]
    elif kind == 3:
        members[rng.choice(sorted(members))] = alone
    elif kind == 4:
        folder = pickled.rsplit("/", 1)[0]
        names = ("constants.pkl", "code/a.py", "data/data.pkl", ".data/serialization_id")
        extra = rng.choice(("data.pkl", "../a", *(f"{folder}/{name}" for name in names)))
        members[extra] = alone
    elif kind == 5:
        members[pickled] = alone
    elif kind == 6:
        return alone + rng.choice((b"", members[pickled], whole))
    else:
        return members[pickled] + alone
    return _archive(members, rng)


def _with_numbers(rng: Random, whole: bytes) -> bytes:
    """Integers of the pickle (sizes, strides, counts) that claim something else."""
    import pickletools

    members = _members(whole)
    pickled = next(name for name in members if name.endswith("data.pkl"))
    content = bytearray(members[pickled])
    integers = [
        (opcode.name, at)
        for opcode, _, at in pickletools.genops(bytes(content))
        if opcode.name in ("BININT", "BININT1", "BININT2")
    ]
    shift = 0
    for name, at in sorted(rng.sample(integers, min(len(integers), rng.choice((1, 2, 3)))),
                           key=lambda one: one[1]):  # fmt: skip
        width = {"BININT": 5, "BININT1": 2, "BININT2": 3}[name]
        value = rng.choice((*_INTERESTING, -1, -(2**40)))
        data = value.to_bytes(9, "little", signed=True)
        long = b"\x8a" + bytes([len(data)]) + data
        content[at + shift : at + shift + width] = long
        shift += len(long) - width
    members[pickled] = bytes(content)
    return _archive(members, rng)


def _with_unfolding(rng: Random, whole: bytes) -> bytes:
    """A value that holds the one before twice, and so on: a key, an argument, or a value."""
    members = _members(whole)
    pickled = next(name for name in members if name.endswith("data.pkl"))
    content = members[pickled]
    place = (10**6).to_bytes(4, "little")
    twice = rng.choice((b"%b\x86", b"(%bt", b"](%be")) % (2 * (b"j" + place))
    value = rng.choice((b")", b"]", b"K\x01")) + b"r" + place
    value += (b"0" + twice + b"r" + place) * rng.choice((5, 30, 70, 2000))
    called = rng.choice((b"torch\nSize", b"numpy\ndtype", b"_codecs\nencode"))
    forms = (b"%b", b"}%bK\x01s", b"}K\x01%bs", b"c" + called + b"\n%b\x85R", b"%bQ")
    used = rng.choice(forms) % value
    at = rng.choice(_boundaries(content))
    members[pickled] = content[:at] + used + rng.choice((b"", b"0")) + content[at:]
    return _archive(members, rng)


def _boundaries(content: bytes) -> list[int]:
    """Where an opcode begins, after the first one."""
    import pickletools

    return [at for _, _, at in pickletools.genops(content)][1:]


def _members(whole: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(members: dict[str, bytes], rng: Random) -> bytes:
    stream = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return stream.getvalue()
