"""A window that shows the stream, where there is a screen."""

from __future__ import annotations

import subprocess
import sys

import cv2

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import DeviceError
from edgeface_runtime.picture import Pixels

__all__ = ["Window"]

TITLE = "edgeface stream"
LEAVE = (ord("q"), 27)
"""Keys that end it: q and Esc."""
PROBE = "import cv2; cv2.namedWindow('edgeface'); cv2.destroyAllWindows()"


class Window(Closing):
    """A window; a context manager. Belongs to the main thread.

    Raises:
        DeviceError: no screen, or an OpenCV without windows.
    """

    def __init__(self) -> None:
        # In a process of its own: without a display Qt ends the process instead of raising.
        tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False)
        if tried.returncode != 0:
            raise DeviceError(
                "--show needs a screen, and an OpenCV with windows (opencv-python, not opencv-python-headless): "
                "use --serve or --save"
            )
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)

    def show(self, image: Pixels) -> bool:
        """Show (H, W, 3) uint8 BGR; False once the user pressed q or Esc or closed the window."""
        cv2.imshow(TITLE, image)
        key = cv2.waitKey(1) & 0xFF
        return key not in LEAVE and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close it. Closing twice does nothing."""
        cv2.destroyAllWindows()
