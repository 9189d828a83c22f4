"""The GPU that PyTorch finds."""

import sys
from glob import glob
from types import ModuleType

# what a driver of NVIDIA, of its embedded boards, of Windows (WSL) or of AMD shows
DEVICES = ("/dev/nvidia*", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


def cuda() -> ModuleType | None:
    """``torch.cuda`` if PyTorch finds a GPU, else None.

    PyTorch takes two seconds to load. Without a driver there is no GPU, and PyTorch is not asked.
    """
    if "torch" not in sys.modules and not any(map(glob, DEVICES)):
        return None
    import torch  # late: portable arithmetic is prepared before it loads

    return torch.cuda if torch.cuda.is_available() else None
