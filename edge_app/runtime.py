"""OpenVINO, from 2022.3 (the last with a Neural Compute Stick plugin) to today's release."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_app.models import ModelError, ModelFiles

CACHE_VARIABLE: Final = "SER_EDGE_CACHE"


class DeviceError(RuntimeError):
    """A device that is not there or cannot run the model."""


def cache_folder() -> Path | None:
    """Where compiled models are kept: ``$SER_EDGE_CACHE``, else the user's cache folder.

    ``SER_EDGE_CACHE=`` (empty) turns the cache off. None too where no folder can be made.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == "":
        return None
    if chosen:
        folder = Path(chosen)
    else:
        base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
        try:
            folder = (Path(base) if base else Path.home() / ".cache") / "ser-edge"
        except RuntimeError:  # no home
            return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


class Network:
    """A compiled IR: mel images in, logits out.

    Parameters
    ----------
    files : ModelFiles
    device : str
        OpenVINO's name: ``CPU``, ``GPU``, ``NPU``, ``MYRIAD``, ``AUTO``, ...
    cache : Path or None
        Folder for compiled models.

    Raises
    ------
    ModelError
        The IR is damaged, or its input or output are not what its manifest says.
    DeviceError
        The device is not there or refuses the model.
    """

    def __init__(self, files: ModelFiles, device: str, cache: Path | None) -> None:
        core, modern = _new_core()
        shape = [1, 1, *files.manifest.spec.shape]
        try:
            model = core.read_model(str(files.xml))
        except Exception as error:
            raise ModelError(f"{files.xml}: OpenVINO cannot read it: {_first(error)}") from None
        _check(model, files, shape)
        model.reshape(shape)  # NPU and stick take no dynamic shape; the others are faster without
        self._compiled = _compile(core, modern, model, device, cache)
        self._request = self._compiled.create_infer_request()
        self._shape = tuple(shape)
        self._classes = len(files.manifest.labels)
        self.device = _executing(self._compiled, device)

    def logits(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """One mel image ``uint8 (n_mels, frames)`` -> ``float32 (classes,)``.

        Raises
        ------
        DeviceError
            The device failed, or gave numbers that are not finite, or too many or too few.
        """
        try:
            result = self._request.infer({0: image.reshape(self._shape)})
        except RuntimeError as error:  # a stick pulled out, a GPU reset
            raise DeviceError(f"{self.device} failed: {_first(error)}") from None
        logits = np.array(next(iter(result.values())), dtype=np.float32).reshape(-1)
        if logits.size != self._classes:
            raise DeviceError(
                f"the network gave {logits.size} logits for {self._classes} labels: it is damaged"
            )
        if not np.isfinite(logits).all():
            raise DeviceError(
                f"{self.device} gave scores that are not finite (FP16 overflow on a GPU?); "
                "try -d CPU"
            )
        return logits


def _new_core() -> tuple[Any, bool]:
    """OpenVINO's core, and whether it is of 2023.0 or later."""
    try:
        from openvino import Core
    except ImportError:
        from openvino.runtime import Core

        return Core(), False
    return Core(), True


def _check(model: Any, files: ModelFiles, shape: list[int]) -> None:
    inputs, outputs = model.inputs, model.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{files.xml}: {len(inputs)} inputs and {len(outputs)} outputs, it should have one each"
        )
    kind = inputs[0].get_element_type().get_type_name()
    sizes = _sizes(inputs[0].get_partial_shape())
    if kind != "u8" or len(sizes) != 4 or sizes[1:] != shape[1:]:
        wanted = ",".join(map(str, shape[1:]))
        raise ModelError(
            f"{files.xml}: its input is {kind} {sizes}, its manifest says u8 [N,{wanted}]"
        )
    logits = _sizes(outputs[0].get_partial_shape())
    if logits[1:] != [len(files.manifest.labels)]:
        raise ModelError(
            f"{files.xml}: its output is {logits}, its manifest has {len(files.manifest.labels)} "
            "labels"
        )


def _sizes(shape: Any) -> list[int]:
    """A partial shape as numbers, -1 where it is dynamic; empty if even its rank is."""
    if shape.rank.is_dynamic:
        return []
    return [-1 if size.is_dynamic else int(size.get_length()) for size in shape]


def _compile(core: Any, modern: bool, model: Any, device: str, cache: Path | None) -> Any:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    # CPUs with bf16 would use it unasked, and answer differently from all others.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    if device == "CPU":
        settings |= exact
    elif modern and (device == "AUTO" or (":" in device and "CPU" in device)):
        # 2022.3 crashes on this setting; there AUTO and the like compute as the CPU likes.
        settings["DEVICE_PROPERTIES"] = {"CPU": exact}
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    try:
        return core.compile_model(model, device, settings)
    except Exception as error:
        first = error
    if cache is not None:  # a damaged cache must not stop anybody
        settings.pop("CACHE_DIR")
        try:
            return core.compile_model(model, device, settings)
        except Exception as error:
            first = error
    there = ", ".join(core.available_devices) or "none"
    raise DeviceError(
        f"device {device!r} cannot run the model; devices here: {there} ({_first(first)})"
    ) from None


def _executing(compiled: Any, asked: str) -> str:
    try:
        devices = compiled.get_property("EXECUTION_DEVICES")
    except Exception:  # 2022.3 has no such property for a plain device
        return asked
    return ",".join(devices) if isinstance(devices, (list, tuple)) else str(devices)


def _first(error: Exception) -> str:
    """The telling line of an OpenVINO message: the last that is not a source position."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or [type(error).__name__])[-1][:300]
