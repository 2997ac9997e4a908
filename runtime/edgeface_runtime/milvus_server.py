"""One collection of a Milvus server through its own client: calls that end in time, and errors in one line.

The client is imported at the first call (it takes a second). A call that fails drops the connection, since the
client does not come back to a server that was away; the next one connects anew.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import EdgefaceError, InputError, MissingExtraError, ServerError
from edgeface_runtime.milvus_address import CA, TOKEN, MilvusAddress

__all__ = ["CALL_S", "CONNECT_S", "MilvusServer"]

CONNECT_S = 4.0
CALL_S = 5.0
"""A command waits for a server that is silent for no longer than both together."""
PAGE_BYTES = 4 << 20
LARGEST_PAGE = 16_000
"""Rows of one answer; the server allows 16,384."""
REFUSALS = ("unauthenticated", "auth check", "permission", "privilege", "invalid token", "authenticat")
"""Words by which a server tells that it is there and does not let us in."""

Row = dict[str, Any]
Answer = TypeVar("Answer")


class MilvusServer(Closing):
    """Calls about one collection. Safe to share between threads; connects when it is first asked."""

    def __init__(self, address: MilvusAddress) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._closed = False
        self._loaded = False

    def close(self) -> None:
        """Drop the connection. Closing twice does nothing."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def call(self, method: str, **arguments: Any) -> Any:
        """What the client's `method` answers for the collection.

        Raises:
            ServerError: the server cannot be reached, is silent for CALL_S, or reports an error.
            InputError: it refuses the token.
            MissingExtraError: the client is not installed.
        """
        return self._guarded(
            lambda client: getattr(client, method)(collection_name=self.address.name, timeout=CALL_S, **arguments)
        )

    def load(self) -> None:
        """Have the collection ready for questions, after a new connection too. Raises as `call`."""
        self.call("load_collection")
        self._loaded = True

    def rows(self, fields: Mapping[str, int]) -> Iterator[list[Row]]:
        """All rows of one moment, some at a time, by ascending id. Raises as `call`.

        Args:
            fields: field -> bytes it takes, about.
        """
        size = max(1, min(LARGEST_PAGE, PAGE_BYTES // max(1, sum(fields.values()))))
        pages = self.call(
            "query_iterator", filter="", output_fields=list(fields), batch_size=size, consistency_level="Strong"
        )
        try:
            while page := self._guarded(lambda client: pages.next()):
                yield [dict(row) for row in page]
        finally:
            pages.close()

    def schema(self) -> tuple[Any, Any, Any]:
        """An empty schema, empty index parameters, and the client's names of types."""
        return self._guarded(_empty_schema)

    def version(self) -> str:
        """Of the server. Raises as `call`."""
        return str(self._guarded(lambda client: client.get_server_version(timeout=CALL_S)))

    def _guarded(self, use: Callable[[Any], Answer]) -> Answer:
        try:
            return use(self._connected())
        except EdgefaceError:
            raise
        except Exception as exc:
            # The client's errors and those of gRPC share no base.
            self._drop()
            raise self._error(exc) from None  # its own text and its causes may hold the token

    def _connected(self) -> Any:
        with self._lock:
            if self._closed:
                raise InputError(f"gallery {self.address.place} is closed: open it again")
            if self._client is None:
                address = self.address
                secure: dict[str, Any] = {} if address.ca is None else {"server_pem_path": str(address.ca)}
                self._client = _pymilvus().MilvusClient(
                    uri=address.uri,
                    token=address.token,
                    db_name=address.database,
                    timeout=CONNECT_S,
                    dedicated=True,  # else the client keeps a dead connection and hands it out again
                    **secure,
                )
                if self._loaded:  # a server that was started again may have released it
                    self._client.load_collection(address.name, timeout=CALL_S)
            return self._client

    def _error(self, exc: Exception) -> EdgefaceError:
        code, details = getattr(exc, "code", None), getattr(exc, "details", None)
        if callable(code):  # of gRPC
            text = f"{getattr(code(), 'name', code())}: {details() if callable(details) else exc}"
        else:
            text = str(getattr(exc, "message", "") or exc)
        reason = _short(text, self.address.token)
        if any(word in text.lower() for word in REFUSALS):
            return InputError(
                f"the server of gallery {self.address.place} refuses access ({reason}): put its token into {TOKEN}"
            )
        if "certificate" in text.lower() or "ssl" in text.lower():
            return InputError(
                f"the server of gallery {self.address.place} is not trusted ({reason}): "
                f"name its authority's certificate in {CA}"
            )
        if "cannot be reached" in reason:
            return ServerError(
                f"the server of gallery {self.address.place} {reason}: is it running, and the address right?"
            )
        return ServerError(f"the server of gallery {self.address.place} reports an error ({reason}): see its log")


def _short(text: str, token: str) -> str:
    """One line of a reason, without the token or a part of it."""
    for secret in {token, *token.split(":", 1)}:
        if secret:
            text = text.replace(secret, "***")
    if "DEADLINE_EXCEEDED" in text:
        return f"cannot be reached (no answer within {CALL_S:.0f} s)"
    if "Fail connecting" in text or "UNAVAILABLE" in text:
        return "cannot be reached (no connection)"
    return " ".join(text.split())[:160]


def _empty_schema(client: Any) -> tuple[Any, Any, Any]:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    return schema, client.prepare_index_params(), _pymilvus().DataType


def _pymilvus() -> Any:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import pymilvus
    except ImportError as exc:
        raise MissingExtraError("pymilvus", "milvus") from exc
    # It writes tracebacks, and whatever the server says, to stderr; its errors come to us anyway.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return pymilvus
