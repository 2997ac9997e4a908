"""Typed reading of a manifest's JSON: every wrong field is one line that names it."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

from edgeface_runtime.errors import ArtefactError

__all__ = ["Reader"]


class Reader:
    """Reads typed fields and says in one line which one is wrong."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise ArtefactError(f"{where} is not a bundle manifest: it holds no JSON object")
        self.data: dict[str, Any] = data
        self.where = where

    def check_header(self, form: str, current: int) -> None:
        """Refuse another format, and another version."""
        found = self.data.get("format")
        if found != form:
            raise ArtefactError(f"{self.where} is not a bundle manifest: its format is {found!r}, not {form!r}")
        version = self.data.get("version")
        if isinstance(version, int) and version > current:
            raise ArtefactError(
                f"{self.where} has version {version}, this edgeface reads version {current}: upgrade edgeface"
            )
        if version != current or isinstance(version, bool):
            raise ArtefactError(f"{self.where} has version {version!r}, not {current}: export the bundle again")

    def fail(self, name: str, wanted: str) -> ArtefactError:
        """The error of a field of the wrong kind."""
        return ArtefactError(f"{self.where} is damaged: {name} is not {wanted}: export the bundle again")

    def get(self, name: str, kind: type) -> Any:
        """A field that must be there and of that kind."""
        if name not in self.data:
            raise ArtefactError(f"{self.where} is damaged: {name} is missing: export the bundle again")
        return self.checked(name, self.data[name], kind)

    def checked(self, name: str, value: Any, kind: type) -> Any:
        """`value` if it is of that kind; a float is finite, whole numbers pass as one, truth values as nothing."""
        kinds: Any = (int, float) if kind is float else kind
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise self.fail(name, f"of type {kind.__name__}")
        if kind is not float:
            return value
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.fail(name, "a finite number")
        return number

    def table(self, name: str, kind: type) -> dict[str, Any]:
        """A JSON object whose values are all of one kind."""
        table: dict[str, Any] = self.get(name, dict)
        return {key: self.checked(f"{name}[{key!r}]", value, kind) for key, value in table.items()}

    def rows(self, name: str, kind: type) -> list[Any]:
        """A JSON list whose items are all of one kind."""
        return [self.checked(f"{name}[{i}]", row, kind) for i, row in enumerate(self.get(name, list))]

    def points(self, name: str) -> tuple[tuple[float, float], ...]:
        """Five points (x, y)."""
        rows = self.rows(name, list)
        if len(rows) != 5 or any(len(row) != 2 for row in rows):
            raise self.fail(name, "five points (x, y)")
        return tuple((self.checked(name, x, float), self.checked(name, y, float)) for x, y in rows)

    def record(self, name: str, defaults: Any) -> Any:
        """A flat record: a JSON object whose fields have the types of those of the dataclass object `defaults`."""
        nested = Reader(self.get(name, dict), self.where)
        return replace(
            defaults, **{f.name: nested.get(f.name, type(getattr(defaults, f.name))) for f in fields(defaults)}
        )
