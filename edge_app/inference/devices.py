"""OpenVINO's devices: which may be chosen, which are here, what is missing for the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ser_edge.commandline.arguments import did_you_mean
from ser_edge.telemetry import without_telemetry

PHYSICAL: Final = ("CPU", "GPU", "NPU", "MYRIAD")
"""What people expect on an Intel box; MYRIAD is the Neural Compute Stick."""

CHOOSING: Final = ("AUTO", "MULTI", "HETERO")
"""Names under which OpenVINO chooses or divides among others."""

HINTS: Final = ("latency", "throughput")
"""OpenVINO's performance hints: one answer soon, or many answers in all."""

EXAMPLES: Final = "CPU, GPU, GPU.1, NPU, MYRIAD, AUTO, AUTO:NPU,CPU, HETERO:GPU,CPU, MULTI:GPU,CPU"

_PRECISIONS: Final = re.compile(r"(FP|BF|INT|U|I|F|BIN|NF)\d*")
_NAME: Final = re.compile(r"-?([A-Z][A-Z_]*)(\.[\w.-]+)?")


class DeviceError(RuntimeError):
    """A device that is not there, cannot run the model, fails, or answers with nonsense."""


@dataclass(frozen=True)
class Device:
    """A device, here or not.

    Parameters
    ----------
    name : str
        OpenVINO's: ``CPU``, ``GPU.1``, ...
    here : bool
        OpenVINO can use it.
    full_name : str
        What it is; empty where it is not here.
    precisions : tuple of str
        What it computes in: ``FP32``, ``FP16``, ``INT8``, ...
    capabilities : tuple of str
        All that OpenVINO says it can do (``OPTIMIZATION_CAPABILITIES``), the precisions too.
    missing : str
        Of a device that is not here: what to install.
    problem : str
        Of a device that is not here: OpenVINO's message.
    """

    name: str
    here: bool
    full_name: str = ""
    precisions: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    missing: str = ""
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "name": self.name,
            "here": self.here,
            "full_name": self.full_name,
            "precisions": list(self.precisions),
            "capabilities": list(self.capabilities),
            "missing": self.missing,
            "problem": self.problem,
        }


def new_core() -> tuple[Any, bool]:
    """OpenVINO's core, and whether it is of 2023.0 or later."""
    with without_telemetry():
        try:
            from openvino import Core
        except ImportError:
            from openvino.runtime import Core

            return Core(), False
    return Core(), True


def runtime_version() -> str:
    """OpenVINO's release, such as ``2022.3.2``."""
    with without_telemetry():
        try:
            from openvino import get_version
        except ImportError:
            from openvino.runtime import get_version
    return str(get_version()).partition("-")[0]


def list_devices(core: Any) -> tuple[Device, ...]:
    """What OpenVINO sees, and what people expect and it does not see."""
    found = []
    here = tuple(core.available_devices)
    for name in here:
        abilities = tuple(map(str, _asked(core, name, "OPTIMIZATION_CAPABILITIES", ())))
        found.append(
            Device(
                name,
                True,
                str(_asked(core, name, "FULL_DEVICE_NAME", "")).strip(),
                tuple(word for word in abilities if _PRECISIONS.fullmatch(word)),
                abilities,
            )
        )
    kinds = {kind(name) for name in here}
    for name in PHYSICAL:
        if name not in kinds:
            try:
                core.get_property(name, "FULL_DEVICE_NAME")
            except Exception as error:
                problem = first_line(error)
            else:
                problem = f"OpenVINO knows {name}, but lists none"
            found.append(Device(name, False, missing=what_is_missing(name), problem=problem))
    return tuple(found)


def check_device(device: str, here: Sequence[str]) -> str:
    """A device as OpenVINO writes it.

    Parameters
    ----------
    device : str
        In capital letters or small ones.
    here : sequence of str
        Devices that OpenVINO sees; those of other makers' plug-ins are then allowed as well.

    Raises
    ------
    DeviceError
        No name of a device. Whether that device is there is not looked at.
    """
    name = device.strip().upper()
    choosing, colon, rest = name.partition(":")
    known = {*PHYSICAL, *map(kind, here)}
    if choosing in CHOOSING:
        parts = rest.split(",") if colon else []
        good = all(
            (match := _NAME.fullmatch(part))
            and match[1] in known
            # Only AUTO takes a list of what to leave out.
            and (choosing == "AUTO" or not part.startswith("-"))
            for part in parts
        )
        good = good and (bool(parts) or choosing == "AUTO")
    else:
        match = _NAME.fullmatch(name)
        good = match is not None and match[1] in known and not name.startswith("-")
    if not good:
        raise DeviceError(
            f"device {device!r} is none that can be asked for, allowed: {EXAMPLES} and the like; "
            f"devices here: {', '.join(here) or 'none'}{did_you_mean(name, {*known, *CHOOSING})}"
        )
    return name


def parts_of(device: str) -> tuple[str, ...]:
    """Devices that a name stands for: ``AUTO:NPU,CPU`` -> NPU and CPU; none for plain AUTO."""
    choosing, colon, rest = device.partition(":")
    if choosing not in CHOOSING:
        return (device,)
    return tuple(part for part in rest.split(",") if not part.startswith("-")) if colon else ()


def may_use_cpu(device: str) -> bool:
    """Whether a device is the CPU or may choose it."""
    parts = parts_of(device)
    return "CPU" in parts or not parts


def kind(device: str) -> str:
    """``GPU.1`` -> ``GPU``."""
    return device.partition(".")[0]


def what_is_missing(device: str) -> str:
    """What to install so that OpenVINO sees a device; empty where nothing is known of it."""
    return _MISSING.get(kind(device), "")


def cannot_run(device: str, here: Sequence[str], error: Exception) -> DeviceError:
    """OpenVINO's refusal -> an error that says what to do about it."""
    kinds = {kind(name) for name in here}
    absent = [part for part in parts_of(device) if kind(part) not in kinds]
    advice = " ".join(
        f"{part} is not here: {text}." for part in absent if (text := what_is_missing(part))
    )
    said = f"device {device!r} cannot run the model; devices here: {', '.join(here) or 'none'}"
    return DeviceError(f"{said}. {advice} OpenVINO: {first_line(error)}".replace(".  ", ". "))


def first_line(error: Exception) -> str:
    """The telling line of an OpenVINO message: the last that is not a source position."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    # "Please check the documentation" and the like stand below what happened.
    telling = [line for line in telling if "Please" not in line] or telling
    return (telling or lines or [type(error).__name__])[-1][:300]


def _asked(core: Any, device: str, key: str, otherwise: Any) -> Any:
    try:
        return core.get_property(device, key)
    except Exception:  # a plug-in that does not say
        return otherwise


_MISSING: Final = {
    "GPU": (
        "install the OpenCL loader and Intel's driver (Debian, Ubuntu: apt install "
        "ocl-icd-libopencl1 intel-opencl-icd; Fedora: intel-compute-runtime; Windows: Intel's "
        "graphics driver) and be in the group that owns /dev/dri/renderD128 (render)"
    ),
    "NPU": (
        "it is in Intel Core Ultra; install intel-driver-compiler-npu, intel-fw-npu and "
        "intel-level-zero-npu from github.com/intel/linux-npu-driver/releases and level-zero "
        "(Windows: Intel's NPU driver), and be in the group that owns /dev/accel/accel0 (render)"
    ),
    "MYRIAD": (
        "the last OpenVINO for the Neural Compute Stick is the 2022.3.1 LTS archive of "
        "storage.openvinotoolkit.org (no wheel holds its plug-in), with its "
        "install_NCS_udev_rules.sh; use it with Python 3.10"
    ),
}
"""After docs.openvino.ai (GPU and NPU configurations; 2022.3 for the stick). Untried here."""
