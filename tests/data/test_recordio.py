"""RecordIO files written by hand, whole and damaged."""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import pytest

from edgeface.data.recordio import RecordError, RecordFile
from edgeface_runtime.errors import InputError

MAGIC = b"\x0a\x23\xd7\xce"


def part(data: bytes, kind: int = 0) -> bytes:
    return MAGIC + struct.pack("<I", kind << 29 | len(data)) + data + bytes(-len(data) % 4)


def body(label: float, number: int, data: bytes = b"") -> bytes:
    return struct.pack("<IfQQ", 0, label, number, 0) + data


def write(folder: Path, records: list[bytes], index: bool = True) -> Path:
    path, places, content = folder / "train.rec", [], b""
    for record in records:
        places.append(len(content))
        content += record
    path.write_bytes(content)
    if index:
        lines = "".join(f"{key}\t{place}\n" for key, place in enumerate(places))
        path.with_suffix(".idx").write_text(lines)
    return path


def test_records_are_read_by_their_key(tmp_path: Path) -> None:
    two = struct.pack("<IfQQ", 2, 0.0, 7, 0) + struct.pack("<ff", 5, 9) + b"xyz"
    path = write(tmp_path, [part(body(3, 1, b"picture")), part(two), part(body(4, 2, b"12345678"))])
    path.with_suffix(".idx").write_text("2\t72\n0\t0\n1\t40\n")
    assert path.stat().st_size == 40 + 44 + 40  # 8 + 24 + 7 and a byte of zero; 8 + 24 + 8 + 3 and one; 8 + 24 + 8
    path.with_suffix(".idx").write_text("2\t84\n0\t0\n1\t40\n")
    with RecordFile(path) as records:
        assert records.indexed and list(records.offsets) == [0, 1, 2] and not records.damaged
        assert (records.read(2).labels, records.read(2).data) == ((4.0,), b"12345678")
        one = records.read(1)
        assert (one.labels, one.flag, one.id, one.data) == ((5.0, 9.0), 2, 7, b"xyz")
        assert records.read(0).data == b"picture"
        with pytest.raises(RecordError, match="no record 9"):
            records.read(9)
    with pytest.raises(RecordError, match="closed"):
        records.read(0)


def test_a_record_in_parts_gets_its_magic_back(tmp_path: Path) -> None:
    first, second, third = body(1, 0, b"AAAA"), b"BBBB", b"CC"
    path = write(tmp_path, [part(first, 1) + part(second, 2) + part(third, 3), part(body(2, 1, b"after"))])
    with RecordFile(path) as records:
        assert records.read(0).data == b"AAAA" + MAGIC + b"BBBB" + MAGIC + b"CC"
        assert records.read(1).data == b"after"
    path.with_suffix(".idx").unlink()
    with RecordFile(path) as records:
        assert [records.read(key).labels for key in records.offsets] == [(1.0,), (2.0,)]


def test_without_an_index_records_are_found(tmp_path: Path) -> None:
    path = write(tmp_path, [part(body(n, n, b"x" * n)) for n in range(5)], index=False)
    with RecordFile(path) as records:
        assert not records.indexed and not records.damaged
        assert [records.read(key).data for key in records.offsets] == [b"x" * n for n in range(5)]
    with pytest.raises(InputError, match="index not found"):
        RecordFile(path, tmp_path / "other.idx")


def test_a_wrong_magic_costs_one_record(tmp_path: Path) -> None:
    records = [part(body(n, n, b"data")) for n in range(4)]
    records[2] = b"junk" + records[2][4:]
    path = write(tmp_path, records)
    with RecordFile(path) as found:
        with pytest.raises(RecordError, match="wrong magic number 0x6b6e756a"):
            found.read(2)
        assert found.read(3).labels == (3.0,)
    path.with_suffix(".idx").unlink()
    with RecordFile(path) as found:
        assert [found.read(key).labels for key in found.offsets] == [(0.0,), (1.0,), (3.0,)]
        assert [(entry.where, entry.reason) for entry in found.damaged] == [
            ("byte 72", "wrong magic number 0x6b6e756a")
        ]


def test_a_truncated_file_costs_its_last_record(tmp_path: Path) -> None:
    path = write(tmp_path, [part(body(n, n, b"data")) for n in range(3)])
    path.write_bytes(path.read_bytes()[:-6])
    for index in (True, False):
        with RecordFile(path) as found:
            assert [found.read(key).labels for key in (0, 1)] == [(0.0,), (1.0,)]
            if index:
                with pytest.raises(RecordError, match="truncated"):
                    found.peek(2)
            else:
                assert [entry.where for entry in found.damaged] == ["byte 72"]
        path.with_suffix(".idx").unlink(missing_ok=True)


def test_a_wrong_length_swallows_nothing(tmp_path: Path) -> None:
    records = [part(body(n, n, b"data")) for n in range(4)]
    records[1] = MAGIC + struct.pack("<I", 40) + records[1][8:]  # reaches into the next record
    path = write(tmp_path, records)
    with RecordFile(path) as found, pytest.raises(RecordError, match="runs into the next"):
        found.read(1)
    path.with_suffix(".idx").unlink()
    with RecordFile(path) as found:
        assert [found.read(key).labels for key in found.offsets] == [(0.0,), (2.0,), (3.0,)]
        assert "its length is wrong" in found.damaged[0].reason


def test_inserted_bytes_lose_no_other_record(tmp_path: Path) -> None:
    records = [part(body(n, n, b"data")) for n in range(5)]
    path = write(tmp_path, [*records[:2], records[2][:20] + b"!!!" + records[2][20:], *records[3:]], index=False)
    with RecordFile(path) as found:
        labels = [found.read(key).labels[0] for key in found.offsets]
        assert labels == [0, 1, 2, 3, 4] and len(found.damaged) == 1


def test_random_damage_is_an_input_error_or_listed(tmp_path: Path) -> None:
    rng = random.Random(1)
    whole = b"".join(part(body(n, n, rng.randbytes(rng.randrange(40)))) for n in range(20))
    path = tmp_path / "train.rec"
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(3):
            at, kind = rng.randrange(len(content)), rng.randrange(3)
            content[at : at + (rng.randrange(30) if kind == 1 else 0)] = b"" if kind == 1 else rng.randbytes(kind * 3)
            content[at : at + 1] = rng.randbytes(1)
        path.write_bytes(content)
        with RecordFile(path) as found:
            assert len(found.offsets) + 12 * len(found.damaged) >= 12
            for key in found.offsets:
                with contextlib.suppress(RecordError):
                    found.peek(key)
                    found.read(key)


def test_headers_that_do_not_fit(tmp_path: Path) -> None:
    many = struct.pack("<IfQQ", 1 << 30, 0, 0, 0)
    path = write(tmp_path, [part(b"short"), part(many), part(body(1, 0), 2), part(body(1, 0), 1), part(body(1, 0))])
    with RecordFile(path) as found:
        for key, reason in enumerate(("too few", "does not fit", "without its start", "without its end")):
            for read in (found.read, found.peek):
                with pytest.raises(RecordError, match=reason):
                    read(key)
        assert found.read(4).data == b""


def test_bad_lines_of_an_index_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path, [part(body(n, n)) for n in range(2)])
    path.with_suffix(".idx").write_text("0\t0\nnonsense\n0\t32\n1\t999999\n")
    with RecordFile(path) as found:
        assert [entry.where for entry in found.damaged] == ["train.idx line 2", "train.idx line 3"]
        with pytest.raises(RecordError, match="truncated"):
            found.read(1)
    path.with_suffix(".idx").write_text("nonsense\n")
    with RecordFile(path) as found:
        assert not found.indexed and list(found.offsets) == [0, 1]
        assert "without it" in found.damaged[-1].reason


def test_what_is_no_record_file(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    with pytest.raises(InputError, match="cannot read"):
        RecordFile(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        RecordFile(path)
    path.write_bytes(b"a text file, no records in it")
    with pytest.raises(InputError, match="not a RecordIO file"):
        RecordFile(path)
