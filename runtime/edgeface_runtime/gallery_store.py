"""The gallery's SQLite file: its tables, how it is opened, and SQLite's errors in one line each.

WAL with synchronous=FULL: a template that was reported enrolled survives a power cut. `secure_delete` overwrites what
is deleted, but only a checkpoint that truncates the WAL takes the last copy off the disk (see `finish_erasure`).
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import make_parent
from edgeface_runtime.gallery_layout import NOT_SPARED, VERSION, extend, meta_value
from edgeface_runtime.gallery_rows import REFUSAL

__all__ = [
    "FORMAT",
    "UNREADABLE",
    "VERSION",
    "FileId",
    "New",
    "check_origin",
    "check_spare",
    "connect",
    "feature_shape",
    "finish_erasure",
    "guarded",
    "read_meta",
    "reading",
    "transaction",
    "upgrade",
]

FORMAT = "edgeface-gallery"
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What Python raises for a damaged file; the second where SQLite's message quotes bytes of it that are no text."""
MAGIC = b"SQLite format 3\0"
BUSY_TIMEOUT_S = 5.0
CHECKPOINT_TIMEOUT_MS = 500
ROOM_BYTES = 128 << 10
"""With less room than this on the disk, an I/O error is taken for a full disk."""

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE templates (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, template BLOB NOT NULL, "
    "source TEXT NOT NULL, created TEXT NOT NULL)",
    "CREATE INDEX templates_by_name ON templates (name, id)",
)
FEATURES = "ALTER TABLE templates ADD COLUMN features BLOB"
"""A dictionary model's gallery keeps its features in the template's own row, so that deleting one deletes both; the
column is the last one, so that reading templates passes over it."""

REMOTE = "CREATE TABLE remote (id INTEGER PRIMARY KEY, changed INTEGER NOT NULL, template INTEGER NOT NULL)"
"""Of a copy: the server's id and change number of each template, and the template's id here."""


@dataclass(frozen=True)
class New:
    """What a gallery is made for."""

    model_id: str
    embedding_size: int
    features: tuple[int, int, int] | None = None
    """(C, h, w) of the features it keeps; None keeps none."""
    origin: str | None = None
    """The server it is the copy of; None: it is a gallery of its own."""
    also: Callable[[sqlite3.Connection], object] | None = None
    """What else to do in the transaction that makes it."""


@dataclass(frozen=True)
class FileId:
    """Which file a path led to when the gallery was opened; SQLite goes on with that one when it loses its name."""

    absolute: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileId:
        """Of a gallery that has just been opened."""
        info = path.stat()
        return cls(path.absolute(), info.st_dev, info.st_ino)

    def check(self, path: Path) -> None:
        """Raise InputError unless the path still leads to that file; `path` is what the message calls it."""
        try:
            info = self.absolute.stat()
            same = (info.st_dev, info.st_ino) == (self.device, self.inode)
        except OSError:
            same = False
        if not same:
            raise InputError(f"gallery {path} was removed or replaced while it was open: open it again")


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Map SQLite's errors, once: damaged -> ArtefactError, busy, read-only or full -> InputError."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        text = _line(exc)
        if "locked" in text or "busy" in text:
            raise InputError(f"gallery {path} is in use by another process: try again") from exc
        if "disk is full" in text or ("disk I/O" in text and _disk_is_full(path)):
            raise InputError(f"cannot write gallery {path}: no space left on device") from exc
        if any(word in text for word in ("readonly", "unable to open", "disk I/O")):
            raise InputError(f"cannot use gallery {path}: {text}: it and its folder must be writable") from exc
        raise ArtefactError(f"gallery {path} is damaged ({text}): restore a backup of it") from exc
    except UNREADABLE as exc:
        if REFUSAL in str(exc):
            raise InputError(f"gallery {path} was encrypted by another process: open it again with the key") from exc
        raise ArtefactError(f"gallery {path} is damaged ({_line(exc)}): restore a backup of it") from exc


NO_TEXT = "it holds what is no text"


def _line(error: Exception) -> str:
    """What SQLite says, in one line and without damaged bytes."""
    text = " ".join(str(error).split())
    return NO_TEXT if isinstance(error, UnicodeDecodeError) or "Could not decode" in text else text


def _disk_is_full(path: Path) -> bool:
    """SQLite calls it an I/O error where the disk has no room for its shared memory file of 32 KiB."""
    try:
        return shutil.disk_usage(path.absolute().parent).free < ROOM_BYTES
    except OSError:
        return False


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One writing transaction: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """One reading transaction, or the one there is: all that is read is of one moment."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def connect(path: Path, new: New | None) -> sqlite3.Connection:
    """Open the file and set it up for safe writing.

    Args:
        path: the file.
        new: what to make a gallery for, where the file is missing or empty; None makes none. Nothing is left behind
            where that fails.

    Raises:
        InputError: missing (unless `new`), a folder, or not writable.
        ArtefactError: not a SQLite file, or damaged.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a gallery")
    if not path.exists():
        if new is None:
            raise InputError(f"gallery not found: {path}: make one with edgeface enroll")
        make_parent(path)
        missing = True
    else:
        missing = False
        try:
            with path.open("rb") as stream:
                head = stream.read(len(MAGIC))
        except OSError as exc:
            raise InputError(f"cannot read gallery {path}: {exc.strerror or exc}") from exc
        # A power cut while it was being made leaves half a page, and a journal by which SQLite makes it empty again.
        unmade = new is not None and (not head or path.with_name(path.name + "-journal").exists())
        if head != MAGIC and not unmade:
            raise ArtefactError(f"{path} is not a gallery: it is no SQLite file: give the file edgeface enroll made")
    with guarded(path):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            # Temporary tables and sorts stay in memory: no template in a temporary file.
            connection.execute("PRAGMA temp_store = MEMORY")
            _check_ours(connection, path, new is not None)
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            if new is not None and _is_empty(connection):
                initialise(connection, new)
        except BaseException:
            unused = missing and _stayed_empty(connection)
            connection.close()
            if unused:
                for end in ("", "-wal", "-shm", "-journal"):
                    path.with_name(path.name + end).unlink(missing_ok=True)
            raise
    return connection


def _stayed_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file we have just made still has no table, of ours or of a process that was faster."""
    try:
        return _is_empty(connection)
    except sqlite3.OperationalError as exc:
        return "locked" not in str(exc) and "busy" not in str(exc)


def _check_ours(connection: sqlite3.Connection, path: Path, may_be_empty: bool) -> None:
    """Raise unless it is our gallery, or an empty file we may make one; asked before anything is written to it."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if (not tables and may_be_empty) or {"meta", "templates"} <= tables:
        return
    raise ArtefactError(
        f"{path} is not a gallery: it is another program's database: give the file edgeface enroll made"
    )


def initialise(connection: sqlite3.Connection, new: New) -> None:
    """Make the tables, unless another process has just done so."""
    with transaction(connection):
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return
        for statement in TABLES:
            connection.execute(statement)
        rows = {
            "format": FORMAT,
            "version": "1",
            "model_id": new.model_id,
            "embedding_size": str(new.embedding_size),
        }
        if new.features is not None:
            connection.execute(FEATURES)
            rows["features"] = ",".join(map(str, new.features))
        if new.origin is not None:
            connection.execute(REMOTE)
            rows["copy_of"] = new.origin
        connection.executemany("INSERT INTO meta VALUES (?, ?)", list(rows.items()))
        extend(connection)
        if new.also is not None:
            new.also(connection)


def upgrade(connection: sqlite3.Connection) -> bool:
    """Bring a gallery of version 1 to this version, in place and all or nothing; whether it was one.

    Every row is written once more.
    """
    if meta_value(connection, "version") != "1":
        return False
    with transaction(connection):
        if meta_value(connection, "version") == "1":  # another process may have been faster
            extend(connection)
    return True


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite waits for no lock where two change the journal of a new file at once: so it is waited for here."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether there is no table yet."""
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def read_meta(connection: sqlite3.Connection, path: Path) -> dict[str, str]:
    """The gallery's header, checked.

    Raises:
        ArtefactError: foreign, damaged, or of another version.
    """
    meta = {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM meta")}
    if meta.get("format") != FORMAT:
        raise ArtefactError(f"{path} is not a gallery: its format is {meta.get('format')!r}, not {FORMAT!r}")
    version = meta.get("version", "")
    if version not in ("1", str(VERSION)):
        mend = "upgrade edgeface" if version.isdigit() and int(version) > VERSION else "enrol again"
        raise ArtefactError(
            f"gallery {path} has version {version!r}, this edgeface reads versions 1 and {VERSION}: {mend}"
        )
    if not meta.get("model_id") or not meta.get("embedding_size", "").isdigit():
        raise ArtefactError(
            f"gallery {path} is damaged (it does not say which model made it): restore a backup of it"
        )
    return meta


def check_spare(meta: dict[str, str], copy: dict[str, str] | None, path: Path) -> None:
    """Raise ArtefactError where a header is not what its copy says; None is a copy that is damaged itself."""
    if copy is not None and copy != {key: value for key, value in meta.items() if key not in NOT_SPARED}:
        raise ArtefactError(
            f"gallery {path} is damaged (the two copies of its header differ): restore a backup of it"
        )


def check_origin(meta: dict[str, str], path: Path, origin: str | None) -> None:
    """Raise InputError unless the gallery is the copy of `origin`, or no copy where that is None."""
    found = meta.get("copy_of")
    if found == origin:
        return
    if found is None:
        raise InputError(f"{path} is a gallery of its own, no copy of {origin}: give another file as --cache")
    if origin is None:
        raise InputError(f"{path} is a copy: give --gallery {found} --cache {path}")
    raise InputError(f"{path} is the copy of {found}, not of {origin}: give another file as --cache")


def feature_shape(meta: dict[str, str], path: Path) -> tuple[int, int, int] | None:
    """(C, h, w) of the features a gallery keeps, None if it keeps none.

    Raises:
        ArtefactError: the header is damaged.
    """
    if "features" not in meta:
        return None
    sizes = meta["features"].split(",")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) for size in sizes):
        raise ArtefactError(f"gallery {path} is damaged (the shape of its features): restore a backup of it")
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def finish_erasure(connection: sqlite3.Connection) -> str | None:
    """Take deleted templates off the disk: write the WAL back and truncate it. None, or why that is still pending.

    SQLite does nothing, silently, while anybody reads: its `busy` answer is what is checked here.
    """
    connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT_MS}").fetchall()
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as exc:
        if "locked" not in str(exc):
            raise
        busy = 1
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}").fetchall()
    if busy:
        return "another process is reading the gallery: run edgeface gallery list once no other process has it open"
    connection.execute("DELETE FROM meta WHERE key = 'erasure_pending'")
    return None
