"""The command that makes crops for a network out of photographs, for errors about pictures of another size."""

from __future__ import annotations

from edgeface_runtime.align import CROP_SIZE

__all__ = ["align_command"]


def align_command(size: tuple[int, int], places: str = "") -> str:
    """The command line for crops of `size` (height, width); `places` are its SRC and DST."""
    box = "" if size == CROP_SIZE else f" --crop box --size {size[0]}x{size[1]}"
    return f"edgeface data align{places and ' ' + places}{box}"
