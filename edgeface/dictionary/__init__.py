"""Mask dictionaries: PDSN (Song et al. 2019) on a grid, and on landmark regions (Johnston & Ngxande 2022)."""

from __future__ import annotations

from edgeface.dictionary.layouts import TAU, layout
from edgeface.dictionary.run import DictionaryResult, train_dictionary
from edgeface.dictionary.settings import DictionarySettings

__all__ = [
    "TAU",
    "DictionaryResult",
    "DictionarySettings",
    "layout",
    "train_dictionary",
]
