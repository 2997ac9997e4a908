"""Measuring a device: which graphs (plan, with torch), kept in a folder (blocks), and timed (measure, without)."""

from __future__ import annotations
