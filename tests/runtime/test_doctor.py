"""The doctor on made-up machines: a tree of files and a Python that answers as told; and real imports that crash."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeface_runtime.doctor import Diagnosis, Finding, Host, diagnose
from edgeface_runtime.doctor.backends import CPU, CUDA, SMALL_MODEL
from edgeface_runtime.doctor.cpu import probe_cpu
from edgeface_runtime.doctor.gpu import probe_gpus
from edgeface_runtime.doctor.host import Ran, run_program
from edgeface_runtime.doctor.jetson import probe_jetson
from edgeface_runtime.doctor.storage import probe_cache, probe_memory

ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nX\n< POWER_MODEL ID=1 NAME=25W >\n"
    "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1728000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1728000\n",
    "proc/cpuinfo": "Features\t: fp asimd asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n",
    "proc/meminfo": "MemTotal:        7802596 kB\nMemFree:  100 kB\nMemAvailable:    5000000 kB\n",
}
GPU = {
    "index": 0,
    "name": "NVIDIA L4",
    "compute_capability": "8.9",
    "free_bytes": 20 * 10**9,
    "total_bytes": 24 * 10**9,
}
WORKS = {"cuda": "12.6", "gpus": [GPU]}
NO_DRIVER = "OSError: libcuda.so.1: cannot open shared object file: No such file or directory"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def ort(providers: Sequence[str] = (CPU,), **why: str) -> dict[str, Any]:
    """What the script says that loads a small network with ONNX Runtime."""
    return {
        "version": "1.23.2",
        "providers": list(providers),
        "tried": {str(SMALL_MODEL): {name: why.get(name, "") for name in providers}},
    }


def machine(
    root: Path,
    answers: Mapping[str, Any] = {},
    distributions: Mapping[str, str] = {},
    environ: Mapping[str, str] = {},
    machine: str = "x86_64",
) -> Host:
    """A machine on which every package is missing but those in `answers`: a word of the script or the module ->
    what it prints (a dict), or the last line of its error."""

    def run(command: Sequence[str], timeout_s: float) -> Ran:
        if command[0] != sys.executable:
            return Ran(None, why="No such file or directory")
        script, asked = command[2], command[3] if len(command) > 3 else ""
        words = ("libcuda.so.1", "libcudart", "import onnxruntime", "import json, torch")
        key = next((word for word in words if word in script), asked)
        said = answers.get(key)
        if said is None and key == "libcuda.so.1":
            said = NO_DRIVER
        if said is None:
            module = key.split()[-1].split(".")[0]
            said = f"ModuleNotFoundError: No module named '{module}'"
        return Ran(0, json.dumps(said)) if isinstance(said, dict) else Ran(1, err=f"Traceback\n{said}\n")

    return Host(root, {"HOME": str(root), **environ}, run, distributions, machine)


def parts(diagnosis: Diagnosis) -> dict[str, Finding]:
    """The last finding of a name: of those of a backend, whether it runs."""
    return {finding.part: finding for finding in diagnosis.findings}


def test_a_bare_machine_runs_nothing_and_is_told_what_to_install(tmp_path: Path) -> None:
    diagnosis = diagnose(machine(tmp_path))
    assert not diagnosis.runs
    assert diagnosis.mend == "pip install 'edgeface[cpu]'"
    found = parts(diagnosis)
    assert found["onnxruntime"].state == "missing"
    assert found["driver"].state == "missing" and found["driver"].mend == ""
    assert found["tensorrt-rtx"].mend == ""  # no use without a GPU
    assert json.loads(json.dumps(diagnosis.to_dict()))["runs"] is False


def test_a_cpu_alone_is_enough(tmp_path: Path) -> None:
    diagnosis = diagnose(machine(tmp_path, {"import onnxruntime": ort()}, {"onnxruntime": "1.23.2"}))
    assert diagnosis.runs and diagnosis.mend == ""
    found = parts(diagnosis)
    assert found["onnxruntime, cpu"].state == "ok"
    assert found["onnxruntime, cuda"].state == "missing"


def test_both_onnxruntimes_clash(tmp_path: Path) -> None:
    both = {"onnxruntime": "1.23.2", "onnxruntime-gpu": "1.23.2"}
    answers = {"import onnxruntime": ort((CUDA, CPU)), "libcuda.so.1": WORKS}
    found = parts(diagnose(machine(tmp_path, answers, both)))
    assert found["onnxruntime"].state == "problem"
    assert "overwrite each other" in found["onnxruntime"].detail
    assert found["onnxruntime"].mend == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'edgeface[gpu]'"
    assert found["onnxruntime, cuda"].state == "problem"


def test_cuda_that_falls_back_is_no_cuda(tmp_path: Path) -> None:
    answers = {"import onnxruntime": ort((CUDA, CPU), **{CUDA: f"falls back to {CPU}"}), "libcuda.so.1": WORKS}
    found = parts(diagnose(machine(tmp_path, answers, {"onnxruntime-gpu": "1.23.2"})))
    assert "CUDA does not start: falls back" in found["onnxruntime"].detail
    assert "cudnn" in found["onnxruntime"].mend
    assert found["onnxruntime, cuda"].state == "problem"
    assert found["onnxruntime, cpu"].state == "ok"


def test_onnxruntime_for_a_gpu_on_a_machine_without_one(tmp_path: Path) -> None:
    answers = {"import onnxruntime": ort((CUDA, CPU), **{CUDA: "CUDA failure 100: no device"})}
    found = parts(diagnose(machine(tmp_path, answers, {"onnxruntime-gpu": "1.23.2"})))
    assert (found["onnxruntime"].state, found["onnxruntime"].mend) == ("ok", "")
    assert "waits for a GPU" in found["onnxruntime"].detail
    assert found["onnxruntime, cpu"].state == "ok"


def test_nothing_that_overwrites_onnxruntime_is_advised(tmp_path: Path) -> None:
    answers = {"import onnxruntime": ort(), "libcuda.so.1": WORKS}
    cpu = parts(diagnose(machine(tmp_path, answers, {"onnxruntime": "1.23.2"})))
    assert cpu["cuDNN"].mend == ""
    assert cpu["onnxruntime, cuda"].mend == "pip uninstall -y onnxruntime && pip install 'edgeface[gpu]'"
    gpu = parts(diagnose(machine(tmp_path, answers, {"onnxruntime-gpu": "1.23.2"})))
    assert gpu["cuDNN"].mend == "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    jetson = parts(diagnose(machine(tree(tmp_path, ORIN), answers, {"onnxruntime": "1.23.2"})))
    assert "use TensorRT" in jetson["onnxruntime, cuda"].detail


LIBCUDA = r"""
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return INIT; }
int cuGetErrorName(int code, const char **text) { *text = "CUDA_ERROR_UNKNOWN"; return 0; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strcpy(name, device == 40 ? "Orin" : "Other"); return 0; }
int cuDeviceGetAttribute(int *value, int number, int device) { *value = number == 75 ? 8 : 7; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(size_t)device; return device != 40; }
int cuCtxSetCurrent(void *context) { return context != (void *)40; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 5000000000UL; *total = 8000000000UL; return 0; }
"""


@pytest.mark.parametrize("init", [0, 999])
def test_the_driver_is_asked_as_its_interface_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: int
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for a stand-in of libcuda")
    (tmp_path / "cuda.c").write_text(LIBCUDA.replace("INIT", str(init)))
    command = [compiler, "-shared", "-fPIC", "-o", str(tmp_path / "libcuda.so.1"), str(tmp_path / "cuda.c")]
    assert run_program(command, 60).code == 0
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n"
    findings = probe_gpus(Host(tree(tmp_path, {"proc/driver/nvidia/version": text}), {}))
    if init:
        (driver,) = findings
        assert driver.state == "problem" and "cuInit says CUDA_ERROR_UNKNOWN" in driver.detail
        assert driver.mend == "sudo modprobe nvidia_uvm"
        return
    driver, first, second = findings
    assert driver.detail == "CUDA 12.6, kernel module 560.35.03"
    assert first.detail == "Orin, compute capability 8.7, 5.0 of 8.0 GB free"
    assert second.state == "problem" and "cannot be used: CUDA_ERROR_UNKNOWN" in second.detail


@pytest.mark.parametrize(
    ("files", "state", "mend"),
    [
        ({}, "missing", ""),
        ({".dockerenv": ""}, "missing", "docker run --gpus all ..."),
        ({"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n"}, "problem", "sudo ubuntu-drivers install"),
        (
            {"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n", ".dockerenv": ""},
            "problem",
            "docker run --gpus all ...",
        ),
        (ORIN, "problem", "sudo apt install --reinstall nvidia-l4t-cuda"),
    ],
)
def test_no_driver(tmp_path: Path, files: dict[str, str], state: str, mend: str) -> None:
    found = parts(diagnose(machine(tree(tmp_path, files))))
    assert (found["driver"].state, found["driver"].mend) == (state, mend)


def test_a_driver_that_does_not_start(tmp_path: Path) -> None:
    said = "cuInit says CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
    found = parts(diagnose(machine(tmp_path, {"libcuda.so.1": said})))
    assert found["driver"].state == "problem"
    assert said in found["driver"].detail
    assert found["driver"].mend == "sudo reboot"


def test_a_gpu_with_tensorrt(tmp_path: Path) -> None:
    answers = {
        "libcuda.so.1": WORKS,
        "libcudart": {
            "cuDNN": {"path": "libcudnn.so.9", "number": 91002},
            "CUDA runtime": {"path": "x", "version": "12.6"},
        },
        "tensorrt": {"version": "10.3.0", "builder": True},
        "pycuda.driver": {"version": ""},
    }
    found = parts(diagnose(machine(tmp_path, answers, {"pycuda": "2026.1"})))
    assert found["GPU 0"].detail == "NVIDIA L4, compute capability 8.9, 20.0 of 24.0 GB free"
    assert found["driver"].facts["cuda"] == "12.6"
    assert found["cuDNN"].facts["version"] == "9.10.2"
    assert found["tensorrt"].state == "ok"
    assert found["tensorrt"].group == "backends"
    assert found["tensorrt-rtx"].mend == "pip install 'edgeface[rtx]'"
    without = {name: answer for name, answer in answers.items() if name != "pycuda.driver"}
    found = parts(diagnose(machine(tmp_path, without)))
    assert found["tensorrt"].mend == "pip install cuda-python"


def test_rtx_knows_its_gpus(tmp_path: Path) -> None:
    hopper = {"cuda": "13.0", "gpus": [{**GPU, "compute_capability": "9.0"}]}
    answers = {
        "libcuda.so.1": hopper,
        "tensorrt_rtx": {"version": "1.7", "builder": True},
        "cuda.bindings.runtime": {"version": ""},
    }
    found = parts(diagnose(machine(tmp_path, answers, {"cuda-bindings": "13.0"})))
    assert found["tensorrt-rtx"].state == "problem" and "9" in found["tensorrt-rtx"].detail


def test_a_stub_of_tensorrt_and_one_the_environment_does_not_see(tmp_path: Path) -> None:
    assert "is a stub" in diagnose_tensorrt(machine(tmp_path, distributions={"tensorrt-cu13": "11.0"})).detail
    tree(tmp_path, {"usr/lib/python3.10/dist-packages/tensorrt/__init__.py": ""})
    assert diagnose_tensorrt(machine(tmp_path)).mend == "python3 -m venv --system-site-packages .venv"
    broken = machine(tmp_path, {"tensorrt": "ImportError: libnvinfer.so.10: cannot open shared object file"})
    assert "does not load: ImportError: libnvinfer.so.10" in diagnose_tensorrt(broken).detail


def diagnose_tensorrt(host: Host) -> Finding:
    from edgeface_runtime.doctor.backends import probe_tensorrt

    return probe_tensorrt(host)


def test_opencv_without_libgl(tmp_path: Path) -> None:
    said = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    found = parts(diagnose(machine(tmp_path, {"cv2": said}, {"opencv-python": "4.11"})))["opencv"]
    assert found.state == "problem" and "libGL" in found.detail
    assert found.mend == "pip uninstall -y opencv-python && pip install opencv-python-headless"
    two = {"opencv-python": "4.11", "opencv-python-headless": "4.11"}
    found = parts(diagnose(machine(tmp_path, {"cv2": {"version": "4.11"}}, two)))["opencv"]
    assert "overwrite each other" in found.detail


def test_a_jetson(tmp_path: Path) -> None:
    board, software, power, clocks = probe_jetson(machine(tree(tmp_path, ORIN), machine="aarch64"))
    assert board.detail == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (software.facts["jetpack"], software.facts["l4t"]) == ("6", "36.4.3")
    assert power.detail.startswith("25W") and power.mend == "sudo nvpmodel -m 2"
    assert clocks.facts["pinned"] == {"GPU": False, "CPU": True} and clocks.mend == "sudo jetson_clocks"
    dpkg = "Package: bash\nVersion: 5.1\n\nPackage: nvidia-jetpack\nStatus: install ok\nVersion: 6.2+b77\n"
    tree(tmp_path, {"var/lib/dpkg/status": dpkg, "var/lib/nvpmodel/status": "pmode:0002"})
    tree(tmp_path, {"sys/class/devfreq/17000000.gpu/min_freq": ORIN["sys/class/devfreq/17000000.gpu/max_freq"]})
    _, software, power, clocks = probe_jetson(machine(tmp_path))
    assert software.facts["jetpack"] == "6.2"
    assert (power.detail, power.mend) == ("MAXN_SUPER", "")
    assert (clocks.detail, clocks.mend) == ("pinned", "")


def test_nvpmodel_is_believed_before_its_file(tmp_path: Path) -> None:
    host = Host(tree(tmp_path, ORIN), {}, lambda command, timeout_s: Ran(0, "NV Power Mode: MAXN_SUPER\n2\n"), {})
    assert probe_jetson(host)[2].facts == {"mode": 2, "name": "MAXN_SUPER"}


@pytest.mark.parametrize(
    ("cpuinfo", "model", "speed"),
    [
        ("model name : Xeon\nflags : avx2 avx512f avx512_vnni\n", "Xeon", "INT8 is fast"),
        ("model name : Ryzen\nflags : sse avx2\n", "Ryzen", "by AVX2"),
        ("model name : Atom\nflags : sse\n", "Atom", "no instructions"),
        (ORIN["proc/cpuinfo"], "Cortex-A78AE", "INT8 is fast"),
        ("Features : asimd\nCPU implementer : 0x41\nCPU part : 0xd03\n", "Cortex-A53", "no instructions"),
    ],
)
def test_processors(tmp_path: Path, cpuinfo: str, model: str, speed: str) -> None:
    found = probe_cpu(machine(tree(tmp_path, {"proc/cpuinfo": cpuinfo, "sys/fs/cgroup/cpu.max": "50000 100000"})))
    assert found.facts["model"] == model and found.facts["quota"] == 0.5
    assert speed in found.detail


def test_memory_is_what_the_container_leaves(tmp_path: Path) -> None:
    host = machine(tree(tmp_path, {"proc/meminfo": ORIN["proc/meminfo"]}))
    assert probe_memory(host).detail == "5.1 of 8.0 GB free"
    tree(tmp_path, {"sys/fs/cgroup/memory.max": "1000000000", "sys/fs/cgroup/memory.current": "700000000"})
    found = probe_memory(host)
    assert found.state == "problem" and found.facts == {"total_bytes": 10**9, "available_bytes": 3 * 10**8}


def test_the_cache(tmp_path: Path) -> None:
    assert probe_cache(machine(tmp_path)).facts["folder"] == str(tmp_path / ".cache" / "edgeface")
    (tmp_path / "file").write_text("")
    found = probe_cache(machine(tmp_path, environ={"EDGEFACE_CACHE": str(tmp_path / "file" / "x")}))
    assert found.state == "problem" and found.mend.startswith("export EDGEFACE_CACHE=")
    assert not (tmp_path / ".cache").exists()


def test_a_package_that_crashes_or_hangs_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(
        tmp_path,
        {
            "cv2.py": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
            "tensorrt.py": "import time\ntime.sleep(60)\n",
        },
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    host = Host(tmp_path, {}, lambda command, timeout_s: run_program(command, 3.0), {})
    script = "import importlib\nimportlib.import_module(sys.argv[1])\nprint('{}')"
    assert host.python(script, "cv2").why == "crashes (SIGSEGV)"
    assert "no answer within 3 s" in host.python(script, "tensorrt").why
    gone = host.python(script, "no_such_module.part")
    assert gone.lacks == "no_such_module" and gone.data is None
    assert host.python(script, "json").data == {}


def test_a_probe_that_fails_is_one_line(tmp_path: Path) -> None:
    def run(command: Sequence[str], timeout_s: float) -> Ran:
        raise RuntimeError("the moon\nis full")

    diagnosis = diagnose(Host(tmp_path, {"HOME": str(tmp_path)}, run, {}))
    found = parts(diagnosis)
    assert found["opencv"].detail == "could not be looked at: RuntimeError: the moon is full"
    assert found["python"].state == "ok"
    assert not diagnosis.runs


def test_looking_loads_nothing_native_in_this_process() -> None:
    code = (
        "import sys\nfrom edgeface_runtime.doctor import diagnose, Host\n"
        "diagnose(Host(run=lambda command, timeout_s: None))\n"
        "print(sorted({'numpy', 'cv2', 'torch', 'onnxruntime', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    done = run_program([sys.executable, "-c", code], 60)
    assert done.out.strip() == "[]", done.err
