"""The GPU that PyTorch finds."""

import sys
from glob import glob

# what a driver of NVIDIA, of its embedded boards, of Windows (WSL) or of AMD shows
DEVICES = ("/dev/nvidia*", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


def gpu() -> str:
    """The name of the GPU that PyTorch finds; empty without one.

    PyTorch takes two seconds to load. Without a driver there is no GPU, and PyTorch is not asked.
    """
    if "torch" not in sys.modules and not any(map(glob, DEVICES)):
        return ""
    import torch  # late: portable arithmetic is prepared before it loads

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
