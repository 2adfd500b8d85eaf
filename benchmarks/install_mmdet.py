"""Installs mmdet and mmsegmentation, with what Mask R-CNN needs of mmcv.

    python3 -m venv MM && MM/bin/pip install torch torchvision timm
    MM/bin/python benchmarks/install_mmdet.py
    python benchmarks/detection.py --torch-python MM/bin/python

Run by the Python that it is installed for. mmcv's own setup does not build with
today's torch; its sources on PyPI do, of which `nms` and `roi_align` are
compiled here by torch's own builder, which needs g++. Any other operation of
mmcv raises NotImplementedError when it is called.
"""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import urllib.request
from pathlib import Path

MMCV = (
    "https://files.pythonhosted.org/packages/a7/19/f97f0fd4d432113a232e75f9653"
    "35be6b7bb6557ae9faf8051e9a012cadd/mmcv-2.1.0.tar.gz"
)
PACKAGES = ["mmdet==3.3.0", "mmengine==0.10.7", "mmsegmentation==1.2.2"]
# mmengine asks for the OpenCV with windows, which servers cannot load.
NEEDED = """addict ftfy matplotlib ninja numpy<2 opencv-python-headless
    prettytable pycocotools pyyaml regex rich scipy setuptools shapely six
    termcolor terminaltables tqdm yapf""".split()

BINDING = """
#include <torch/extension.h>
#include "nms.cpp"
#include "roi_align.cpp"
#include "cpu/nms.cpp"
#include "cpu/roi_align.cpp"

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("nms", &nms, py::arg("boxes"), py::arg("scores"),
        py::arg("iou_threshold"), py::arg("offset"));
  m.def("roi_align_forward", &roi_align_forward, py::arg("input"),
        py::arg("rois"), py::arg("output"), py::arg("argmax_y"),
        py::arg("argmax_x"), py::arg("aligned_height"),
        py::arg("aligned_width"), py::arg("spatial_scale"),
        py::arg("sampling_ratio"), py::arg("pool_mode"), py::arg("aligned"));
  m.def("roi_align_backward", &roi_align_backward, py::arg("grad_output"),
        py::arg("rois"), py::arg("argmax_y"), py::arg("argmax_x"),
        py::arg("grad_input"), py::arg("aligned_height"),
        py::arg("aligned_width"), py::arg("spatial_scale"),
        py::arg("sampling_ratio"), py::arg("pool_mode"), py::arg("aligned"));
}
"""

# What mmcv imports as its compiled module: it asks for every name at once.
MODULE = """
import torch  # before the library that is linked with it

from ._two_operations import nms, roi_align_backward, roi_align_forward


def __getattr__(name):
    def missing(*args, **keywords):
        raise NotImplementedError(f"mmcv's {name} was not compiled.")

    return missing
"""


def main():
    """Installs the packages, then mmcv's sources and its two operations."""
    pip = [sys.executable, "-m", "pip", "install"]
    subprocess.run([*pip, *NEEDED], check=True)
    subprocess.run([*pip, "--no-deps", *PACKAGES], check=True)
    with tempfile.TemporaryDirectory() as folder:
        install_mmcv(Path(folder))


def install_mmcv(folder):
    """Copies mmcv into site-packages and compiles its two operations."""
    from torch.utils import cpp_extension

    archive, _ = urllib.request.urlretrieve(MMCV, folder / "mmcv.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    source = folder / "mmcv-2.1.0" / "mmcv"
    installed = Path(sysconfig.get_path("platlib")) / "mmcv"
    shutil.copytree(source, installed, dirs_exist_ok=True)
    binding = folder / "two_operations.cpp"
    binding.write_text(BINDING)
    operations = source / "ops" / "csrc"
    cpp_extension.load(
        "_two_operations",
        [str(binding)],
        extra_cflags=["-O3"],
        extra_include_paths=[
            str(operations / "common"),
            str(operations / "pytorch"),
        ],
        build_directory=str(folder),
        with_cuda=False,
    )
    shutil.copy(folder / "_two_operations.so", installed)
    (installed / "_ext.py").write_text(MODULE)


if __name__ == "__main__":
    main()
