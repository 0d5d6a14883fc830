import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from galcli.errors import DeviceError, DeviceMemoryError, UsageError
from galcli.models import devices, doctor, nvidia
from galcli.models.devices import Device, find_device, no_device, parse_device
from galcli.models.runtime import onnxruntime

GPU_BUILD = "CUDAExecutionProvider" in onnxruntime().get_available_providers()
needs_gpu_build = pytest.mark.skipif(not GPU_BUILD, reason="this onnxruntime knows no CUDA")


def test_device_names():
    assert parse_device("cuda:3") == ("cuda", 3)
    assert parse_device("auto") == ("auto", 0)
    for wrong in ("gpu", "cuda:x", "cpu:1", "", "cuda:-1", "auto:0"):
        with pytest.raises(UsageError):
            parse_device(wrong)


def test_float32_on_a_gpu_is_float32_and_the_same_in_each_run():
    assert Device("cuda", 1).arithmetic("fp32") == {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    assert Device("cpu").arithmetic("fp32") == {}
    for precision in ("fp32", "fp16", "bf16"):
        flags = Device("tensorrt").arithmetic(precision)
        assert [name for name, flag in flags.items() if flag == "1"] == [f"trt_{precision}_enable"] * (
            precision != "fp32"
        )


def test_the_gpu_is_no_part_of_the_identity():
    assert Device("cuda", 0).arithmetic("fp32") == Device("cuda", 7).arithmetic("fp32")
    assert Device("cuda", 7).providers("fp32")[0][1]["device_id"] == "7"


def test_providers_best_first(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [name for name, _ in Device("tensorrt").providers("fp16")]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    options = Device("tensorrt").providers("fp16")[0][1]
    assert options["trt_fp16_enable"] == options["trt_engine_cache_enable"] == "1"
    assert options["trt_engine_cache_path"].startswith(str(tmp_path / "galcli"))
    assert list((tmp_path / "galcli").iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Device("tensorrt").providers("fp16")[0][1]["trt_engine_cache_enable"] == "0"
    assert Device("cpu").providers("fp32") == [("CPUExecutionProvider", {})]


def test_probe_that_falls_back_counts_as_absent(monkeypatch, capfd, fresh_devices):
    monkeypatch.setattr(nvidia, "driver_version", lambda: (99, 0))
    monkeypatch.setattr(nvidia, "missing_libraries", lambda kind: ())
    real = devices.open_graph
    on_cpu = lambda data, where, providers, *rest, **more: real(data, where, providers[-1:], *rest, **more)  # noqa: E731
    monkeypatch.setattr(devices, "open_graph", on_cpu)
    assert not devices.usable("cuda", 0)
    assert capfd.readouterr().out == ""
    monkeypatch.undo()
    fresh_devices()


@pytest.mark.parametrize("kind", ["cuda", "tensorrt"])
def test_what_is_missing_is_named_with_its_cure(kind, monkeypatch):
    def said():
        error = no_device(Device(kind))
        return error.message, error.hint

    monkeypatch.setattr(onnxruntime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    message, hint = said()
    assert f"has no {devices.PROVIDERS[kind]}" in message
    assert "'galcli[gpu]'" in hint
    monkeypatch.setattr(onnxruntime(), "get_available_providers", lambda: list(devices.PROVIDERS.values()))
    monkeypatch.setattr(nvidia, "driver_version", lambda: None)
    assert "no NVIDIA driver" in said()[0]
    monkeypatch.setattr(nvidia, "cuda_version", lambda: (13, 0))
    monkeypatch.setattr(nvidia, "driver_version", lambda: (12, 4))
    message, hint = said()
    assert "supports CUDA 12.4" in message
    assert "needs 13.0" in message
    monkeypatch.setattr(nvidia, "driver_version", lambda: (13, 0))
    monkeypatch.setattr(nvidia, "missing_libraries", lambda kind: ("libcudnn.so.9",))
    message, hint = said()
    assert "cannot load libcudnn.so.9" in message
    assert f"pip install 'galcli[{'gpu' if kind == 'cuda' else 'tensorrt'}]'" in hint
    assert hint.startswith(sys.executable)
    monkeypatch.setattr(nvidia, "missing_libraries", lambda kind: ())
    assert "could not start" in said()[0]
    monkeypatch.setattr(devices, "_missing_package", lambda kind: True)
    message, hint = said()
    assert "package onnx is missing" in message
    assert "pip install 'galcli[" in hint


@needs_gpu_build
def test_missing_libraries_are_those_that_the_loader_misses(fresh_devices, capfd):
    for kind in ("cuda", "tensorrt"):
        found = nvidia.missing_libraries(kind)
        for name in nvidia.libraries(kind):
            try:
                ctypes.CDLL(name)
            except OSError:
                assert name in found
            else:
                assert name not in found
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not GPU_BUILD or sys.platform != "linux", reason="needs the CUDA provider's library and its names")
def test_libraries_are_those_that_the_providers_are_linked_with():
    """cuDNN, which the CUDA provider opens by itself, is named by the TensorRT provider."""
    linked = set()
    for kind in ("cuda", "tensorrt"):
        library = Path(onnxruntime().__file__).parent / f"capi/libonnxruntime_providers_{kind}.so"
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            linked |= {name for name in nvidia.libraries("tensorrt") if content.find(name.encode()) >= 0}
    assert linked == set(nvidia.libraries("tensorrt"))


@pytest.mark.parametrize(("number", "code", "found"), [(13000, 0, (13, 0)), (12040, 0, (12, 4)), (13000, 3, None)])
def test_driver_tells_which_cuda_it_supports(monkeypatch, number, code, found):
    class Driver:
        def cuDriverGetVersion(self, place):  # noqa: N802
            place._obj.value = number
            return code

    monkeypatch.setattr(ctypes, "CDLL", lambda *_: Driver())
    assert nvidia.driver_version() == found


def test_page_locked_memory_is_that_of_the_driver_and_is_given_back(monkeypatch):
    """A made-up CUDA runtime hands out a buffer of the test's own."""
    memory = ctypes.create_string_buffer(1 << 12)
    freed, chosen = [], []

    class Runtime:
        def cudaSetDevice(self, number):  # noqa: N802
            chosen.append(number.value)
            return 0

        def cudaHostAlloc(self, address, size, flags):  # noqa: N802
            ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.addressof(memory)
            return 0 if size.value <= len(memory) else 2

        def cudaFreeHost(self, address):  # noqa: N802
            freed.append(address.value)

    monkeypatch.setattr(nvidia, "_runtime", Runtime)
    array = nvidia.page_locked((4, 3), np.dtype(np.float32), 3)
    array[:] = 7
    assert np.frombuffer(memory, np.float32, 12).tolist() == [7] * 12
    assert chosen == [3]
    part = array[1:]
    del array
    assert not freed
    del part
    assert freed == [ctypes.addressof(memory)]
    with pytest.raises(DeviceMemoryError):
        nvidia.page_locked((1 << 20,), np.dtype(np.float32), 3)


def test_auto_is_the_cpu_without_a_gpu(no_driver):
    assert find_device("auto") == Device("cpu")
    with pytest.raises(DeviceError):
        find_device("cuda")


def test_two_onnxruntimes_are_bad(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda name: "1.31.1")
    bad = [finding for finding in doctor.examine() if finding.verdict == "bad"]
    assert any("both installed" in finding.what and "uninstall" in finding.hint for finding in bad)
