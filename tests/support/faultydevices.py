"""Stand-in for OpenVINO's core with simulated devices that can fail. The CPU computes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NO_OPENCL = (
    "Exception from src/inference/src/cpp/core.cpp:117:\n"
    'Cannot load library "/x/libopenvino_intel_gpu_plugin.so": libOpenCL.so.1: cannot open shared '
    "object file: No such file or directory\n"
)
NO_NPU = (
    "Exception from src/inference/src/cpp/core.cpp:117:\nVCL compiler loading failed, aborting. "
    'Error: Cannot load library "/x/libopenvino_intel_npu_compiler_loader.so"\n\n'
)
NO_STICK = 'Device with "MYRIAD" name is not registered in the OpenVINO Runtime\n\n'


@dataclass
class Fault:
    """How a device fails: ``refuses`` is the error of compiling, ``how`` that of inference.

    ``how`` applies from image ``after`` to ``until`` and is "well", "nan", "inf", "begin" or
    "middle" (raises when a request is started or awaited), "hang" or "size". ``runs_on`` are the
    values of EXECUTION_DEVICES, one for each query.
    """

    refuses: str | None = None
    how: str = "well"
    after: int = 0
    until: int = 10**9
    runs_on: tuple[str, ...] = ()
    listed: bool = True
    compiled: int = 0
    settings: list[dict[str, Any]] = field(default_factory=list)
    count: Iterator[int] = field(default_factory=itertools.count)
    released: threading.Event = field(default_factory=threading.Event)


class Core:
    def __init__(self, core: Any, faults: dict[str, Fault]) -> None:
        self._core = core
        self._faults = faults

    @property
    def available_devices(self) -> list[str]:
        listed = [name for name, fault in self._faults.items() if fault.listed]
        return [*self._core.available_devices, *(name for name in listed if ":" not in name)]

    def get_property(self, device: str, key: str) -> Any:
        fault = self._faults.get(device)
        if fault is None:
            return self._core.get_property(device, key)
        if fault.refuses:
            raise RuntimeError(fault.refuses)
        return {"FULL_DEVICE_NAME": f"Stand-in {device}"}.get(
            key, ["FP32", "FP16", "GPU_HW_MATMUL", "EXPORT_IMPORT", "INT8", "WINOGRAD"]
        )

    def read_model(self, path: str) -> Any:
        return self._core.read_model(path)

    def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
        fault = self._faults.get(device)
        if fault is None:
            return self._core.compile_model(model, device, settings)
        fault.settings.append(dict(settings))
        if fault.refuses:
            raise RuntimeError(fault.refuses)
        fault.compiled += 1
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        return _Compiled(self._core.compile_model(model, "CPU", exact), device, fault)


class _Compiled:
    def __init__(self, real: Any, device: str, fault: Fault) -> None:
        self._real, self._device, self._fault = real, device, fault
        self._asked = 0

    def get_property(self, key: str) -> Any:
        if key == "EXECUTION_DEVICES":
            names = self._fault.runs_on or (self._device,)
            self._asked += 1
            return [names[min(self._asked, len(names)) - 1]]
        if key == "INFERENCE_PRECISION_HINT":
            return "f16"
        return self._real.get_property(key)

    def create_infer_request(self) -> Any:
        return _Request(self._real.create_infer_request(), self._fault)


class _Tensor:
    def __init__(self, data: Any) -> None:
        self.data = data


class _Request:
    def __init__(self, real: Any, fault: Fault) -> None:
        self._real, self._fault, self._wrong = real, fault, False

    def start_async(self) -> None:
        number = next(self._fault.count)
        self._wrong = self._fault.after <= number < self._fault.until
        if self._wrong and self._fault.how == "begin":
            raise RuntimeError("Exception from src/x.cpp:1:\n\nNC_ERROR: device lost\n")
        self._real.start_async()

    def wait_for(self, milliseconds: int) -> bool:
        if self._wrong and self._fault.how == "hang":
            return self._fault.released.wait(milliseconds / 1000)
        if self._wrong and self._fault.how == "middle":
            self._real.wait()
            raise RuntimeError("Exception from src/x.cpp:1:\n\nNC_ERROR: device lost\n")
        return bool(self._real.wait_for(milliseconds))

    def get_input_tensor(self, number: int) -> Any:
        return self._real.get_input_tensor(number)

    def get_output_tensor(self, number: int) -> _Tensor:
        data = np.array(self._real.get_output_tensor(number).data)
        if self._wrong and self._fault.how in ("nan", "inf"):
            data[..., 0] = float(self._fault.how)
        if self._wrong and self._fault.how == "size":
            data = np.zeros((1, 1280), np.float32)
        return _Tensor(data)
