"""The unpickler reads what pickle writes of plain data, and no pickle takes long or much."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.files.unpickler import Refused, unpickled

KEYS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text()
PLAIN = st.recursive(
    KEYS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner, max_size=9)
    ),
)


def read(content: bytes, **functions: Any) -> Any:
    return unpickled(content, len(content), functions.__getitem__, lambda *_: None)


@settings(max_examples=60, deadline=None)
@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_data_comes_back(value: Any, protocol: int) -> None:
    assert repr(read(pickle.dumps(value, protocol))) == repr(value)
    bare = [b"", b"abc", b"x" * 300, bytearray(b"abc")]  # which older protocols make by calls
    assert read(pickle.dumps(bare, 5)) == bare


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x80\x02cos\nmkdir\n.", r"pickled Python objects \(os.mkdir\)"),
        (b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93.", r"pickled Python objects \(os.mkdir\)"),
        (b"\x80\x02X\x01\0\0\0a)R.", "a call of something that is no function"),
        (b"\x80\x02(cos\nmkdir\no.", "pickled Python objects"),
        (b"\x80\x02(ios\nmkdir\n.", r"more than plain data \(opcode INST\)"),
        (b"\x80\x02\x82\x01.", r"opcode EXT1"),
        (b"\x80\x02" + b"0" * 9 + b".", r"opcode POP"),
        (b"\x80\x02]" + b"]" * 99 + b"a" * 99 + b".", "more than 64 deep"),
    ],
)
def test_what_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        read(content)


def test_the_number_of_instructions_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagine_cli.files.unpickler._MOST_INSTRUCTIONS", 1000)
    with pytest.raises(Refused, match="a pickle of more than 1000 instructions"):
        read(b"\x80\x02" + b"]" * 1000 + b".")


def test_what_a_function_gets() -> None:
    def called(arguments: bytes) -> Any:
        return read(b"\x80\x02ca\nf\n" + arguments + b"R.", **{"a.f": lambda *given: given})

    assert called(b"(K\x01(K\x02Ntt") == (1, (2, None))
    for arguments in (
        b"]\x85",
        b")\x85\x85\x85",
        b"]\x85\x85",
        b"}\x85\x85",
        b"(" + b"N" * 65 + b"t",
    ):
        with pytest.raises(ValueError, match="arguments that are no short|of several levels"):
            called(arguments)


def test_one_string_is_not_copied_for_ever() -> None:
    content = b"\x80\x02](ca\nf\nq\x00X\x00\x10\x00\x00" + b"a" * 4096 + b"q\x01\x85R"
    content += b"h\x00h\x01\x85R" * 200 + b"e."
    with pytest.raises(Refused, match="the same bytes again and again"):
        read(content, **{"a.f": lambda text: text.encode()})


# A tuple of twice the same tuple, of twice the same tuple, and so on: 2**90 of them to hash.
DAG = b")q\x00" + b"".join(b"h%c\x86q%c" % (k, k + 1) for k in range(90))
NAME = b"X\x04\x00\x00\x00name"
NUMPY = b"cnumpy\ndtype\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
HARM = {
    "key": b"}" + DAG + b"Ns",
    "keys": b"}(" + DAG + b"Nu",
    "called": DAG + b")R",
    "dtype": NUMPY + DAG + b"\x85R",
    "dtype of dict": NUMPY + b"}" + NAME + DAG + b"s\x85R",
    "order": NUMPY + NAME + b"\x85R(K\x03" + DAG + b"tb",
    "text": b"c_codecs\nencode\n" + DAG + NAME + b"\x86R",
    "codec": b"c_codecs\nencode\n" + NAME + DAG + b"\x86R",
    "name": DAG + NAME + b"\x93",
    "scalar": b"cnumpy.core.multiarray\nscalar\n" + NUMPY + NAME + b"\x85R" + DAG + b"\x86R",
    "shape": b"cnumpy.core.numeric\n_frombuffer\n(C\x01a" + NUMPY + NAME + b"\x85R" + DAG + b"NtR",
    "storage's key": STORAGE + DAG + b"NK\x01tQ",
    "storage's type": b"(N" + DAG + b"NNK\x01tQ",
    "storage's size": STORAGE + b"X\x01\x00\x00\x000N" + DAG + b"tQ",
    "persistent id": DAG + b"Q",
    "tensor's shape": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00" + DAG + b")\x89NtR",
    "parameter": b"ctorch._utils\n_rebuild_parameter\n" + DAG + b"\x89N\x87R",
    "size": b"ctorch\nSize\n" + DAG + b"\x85R",
    "ordered dict": b"ccollections\nOrderedDict\n(" + DAG + b"tR",
    "key of an ordered dict": b"ccollections\nOrderedDict\n)R" + DAG + b"Ns",
    "alone": DAG,
    "value": b"}" + NAME + DAG + b"s",
    "in lists": b"](" + DAG + b"h\x50" * 99 + b"e",
}  # fmt: skip

SCRIPT = """
import sys, zipfile
from pathlib import Path
import torch
from imagine_cli import InputError
from imagine_cli.checkpoint import read_checkpoint
from imagine_cli.checkpoint.pickled_arrays import read_arrays
from tests.files.test_unpickler import HARM

folder = Path(sys.argv[1])
torch.save(torch.ones(1), folder / "good.pt")
with zipfile.ZipFile(folder / "good.pt") as good:
    parts = {name: good.read(name) for name in good.namelist()}
for name, harm in HARM.items():
    print(name, flush=True)
    content = b"\\x80\\x02" + harm + b"."
    (folder / "a.pickle").write_bytes(content)
    with zipfile.ZipFile(folder / "a.pt", "w") as archive:
        for part, held in parts.items():
            archive.writestr(part, content if part.endswith("data.pkl") else held)
    for read, path in ((read_checkpoint, folder / "a.pt"), (read_arrays, folder / "a.pickle")):
        try:
            read(path)
        except InputError as error:
            assert len(str(error)) < 1000, name
        else:
            raise AssertionError(f"{name} was read")
print("done")
"""


@pytest.mark.long
def test_no_pickle_takes_for_ever(tmp_path: Path) -> None:
    """In a process of its own, as what hashes such a tuple hears no signal."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"it hangs: {(error.stdout or b'').decode()}")
    assert done.stdout.endswith("done\n"), done.stderr
