"""Which devices are taken."""

from __future__ import annotations

import pytest

from ovrecipe.errors import DeviceUnknown
from ovrecipe.run.genai import check_device

HERE = ["CPU", "GPU.0", "GPU.1", "NPU"]


@pytest.mark.parametrize(
    "device",
    ["CPU", "GPU", "GPU.1", "NPU", "AUTO", "AUTO:GPU,CPU", "AUTO:-CPU", "HETERO:GPU.0,CPU",
     "MULTI:GPU.1, NPU", "BATCH:GPU(4)"],
)  # fmt: skip
def test_devices_of_this_machine_are_taken(device):
    """By every spelling that OpenVINO has."""
    check_device(device, HERE)


@pytest.mark.parametrize("device", ["cpu", "GPU.2", "TPU", "AUTO:TPU", "HETERO:CPU,", ""])
def test_other_devices_are_refused_with_those_there_are(device):
    """OpenVINO's own message names a library that cannot be opened."""
    with pytest.raises(DeviceUnknown, match=r"only CPU, GPU\.0, GPU\.1, NPU"):
        check_device(device, HERE)


def test_the_only_gpu_may_be_called_by_number():
    """OpenVINO lists one GPU without its number."""
    check_device("GPU.0", ["CPU", "GPU"])
