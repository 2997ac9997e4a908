"""The command that makes crops for a network out of photographs, for errors about pictures of another size."""

from __future__ import annotations

from edgeface.data.template import Points, read_template, same_template
from edgeface_runtime.align import CROP_SIZE

__all__ = ["align_command"]


def align_command(size: tuple[int, int], places: str = "", template: Points | None = None) -> str:
    """The command line for crops of `size` (height, width); `places` are its SRC and DST.

    `template` is that of a bundle that takes aligned faces; without one, faces of another size than ours are boxes.
    """
    sides = f" --size {size[0]}x{size[1]}"
    if template is None:
        flags = "" if size == CROP_SIZE else f" --crop box{sides}"
    else:
        flags = ("" if size == CROP_SIZE else sides) + _template_flag(size, template)
    return f"edgeface data align{places and ' ' + places}{flags}"


def _template_flag(size: tuple[int, int], template: Points) -> str:
    if same_template(template, read_template(None, size)):
        return ""
    if size[0] == size[1] and same_template(template, read_template("arcface", size)):
        return " --template arcface"
    return " --template FILE (the five points that edgeface inspect shows)"
