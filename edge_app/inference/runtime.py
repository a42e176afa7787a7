"""OpenVINO, from 2022.3 (the last with a Neural Compute Stick plugin) to today's release."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_app.inference import devices
from edge_app.inference.devices import HINTS, DeviceError
from edge_app.inference.embedding import embedding_of
from edge_app.inference.model_store import ModelError, ModelFiles

__all__ = ["DeviceError", "Network", "Output"]


PATIENCE_SECONDS: Final = 30.0
"""A device that has not answered for so long has hung: an image is a matter of milliseconds."""

_LOOK_MS: Final = 200  # how often a wait looks whether it should end; Ctrl-C waits as long

_FIRST_TENSOR: Final = threading.Lock()
"""Held while tensors are first looked at.

OpenVINO's bindings (pybind11) set up their access to NumPy at the first look at any tensor, and two
threads that take that look at once wait for each other for ever, one with Python's lock in its
hand. Seen on 2026.4.1, one start in twenty."""

_LOG: Final = logging.getLogger("edge_app")


@dataclass(frozen=True)
class Output:
    """What the network gives for one image.

    Parameters
    ----------
    logits : ndarray
        ``float32 (classes,)``.
    embedding : ndarray or None
        ``float32 (features,)``; None where the network was built without it.
    device : str
        That really ran it.
    """

    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32] | None
    device: str


class Network:
    """An IR on a device: mel images in, logits out. Any number of threads may use it at once.

    Parameters
    ----------
    files : ModelFiles
    device : str
        OpenVINO's name: ``CPU``, ``GPU``, ``NPU``, ``MYRIAD``, ``AUTO``, ``AUTO:NPU,CPU``, ...
    cache : Path or None
        Folder for compiled models.
    hint : {"latency", "throughput"}
        One answer as soon as can be, or as many as can be in all.
    threads : int, optional
        Of the CPU, at most.
    fallback : str, optional
        Device that takes over, for good, when ``device`` is not there, fails, hangs or gives
        scores that are not finite. The log (``edge_app``) says so once.
    embedding : bool
        Give the embedding, too.
    patience : float
        Seconds after which a device that does not answer has hung; the CPU never has.

    Raises
    ------
    ModelError
        The IR is damaged, its input or output are not what its manifest says, or it has nothing
        to give as embedding.
    DeviceError
        The device is not there or rejects the model, and so does the fallback.
    ValueError
        A hint, threads or a fallback that make no sense.
    """

    def __init__(
        self,
        files: ModelFiles,
        device: str,
        cache: Path | None,
        *,
        hint: str = "latency",
        threads: int | None = None,
        fallback: str | None = None,
        embedding: bool = False,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        if hint not in HINTS:
            raise ValueError(f"hint is {hint!r}, allowed: {', '.join(HINTS)}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads are {threads}, allowed: 1 or more")
        core, modern = devices.new_core()
        here = tuple(core.available_devices)
        device = devices.check_device(device, here)
        if fallback is not None:
            fallback = devices.check_device(fallback, here)
            if fallback == device:
                raise ValueError(f"the fallback of {device} is {fallback}: it should be another")
        asked = [device] if fallback is None else [device, fallback]
        if threads is not None and not any(map(devices.may_use_cpu, asked)):
            raise ValueError(f"threads are the CPU's, and the device is {' or '.join(asked)}")
        if threads is not None and not modern and any(devices.parts_of(d) != (d,) for d in asked):
            raise ValueError(f"threads need OpenVINO 2023 or later where {device} chooses devices")
        self._files = files
        self._plan = _Plan(cache, hint, threads, embedding, patience, modern)
        self._fallback = fallback
        self._lock = threading.Lock()
        try:
            self._engine = _Engine(core, files, device, self._plan)
        except DeviceError as error:
            if fallback is None:
                raise
            self._engine = self._second(core, error)

    @property
    def device(self) -> str:
        """OpenVINO device that runs the network now: AUTO may change it, a fallback does."""
        return self._engine.device

    @property
    def streams(self) -> int:
        """How many images the device takes at once."""
        return self._engine.streams

    @property
    def computing(self) -> str:
        """Kind of number that the device computes in, such as ``f32``; empty if it does not say."""
        return _computing(self._engine.compiled)

    def logits(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """One mel image ``uint8 (n_mels, frames)`` -> ``float32 (classes,)``.

        Raises
        ------
        DeviceError
            The device failed, hung, or gave numbers that are not finite, or too many or too few.
        """
        return next(self.run([image])).logits

    def run(self, images: Iterable[npt.NDArray[np.uint8]]) -> Generator[Output, None, None]:
        """Mel images -> what the network says of each, in order.

        While the device works, the next images are taken from ``images``: as many as the device
        takes at once, and no more are held.

        Raises
        ------
        DeviceError
            As :meth:`logits`.
        """
        waiting: deque[_Asked] = deque()
        try:
            for image in images:
                while (asked := self._ask(image, wait=not waiting)) is None:
                    yield self._answer(waiting.popleft())
                waiting.append(asked)
            while waiting:
                yield self._answer(waiting.popleft())
        finally:
            for asked in waiting:
                asked.engine.drop(asked.request)

    def _ask(self, image: npt.NDArray[np.uint8], wait: bool) -> _Asked | None:
        engine = self._engine
        try:
            request = engine.begin(image, wait)
        except DeviceError as error:
            engine = self._take_over(engine, error)
            request = engine.begin(image, wait)
        return None if request is None else _Asked(engine, request, image)

    def _answer(self, asked: _Asked) -> Output:
        try:
            return asked.engine.finish(asked.request)
        except DeviceError as error:
            return self._take_over(asked.engine, error).once(asked.image)

    def _take_over(self, failed: _Engine, error: DeviceError) -> _Engine:
        """The engine that runs instead of one that failed; raises the error where there is none."""
        if self._fallback is None or failed.asked == self._fallback:
            raise error
        with self._lock:
            if self._engine is failed:
                core, _ = devices.new_core()
                self._engine = self._second(core, error)
            return self._engine

    def _second(self, core: Any, error: DeviceError) -> _Engine:
        assert self._fallback is not None
        try:
            engine = _Engine(core, self._files, self._fallback, self._plan)
        except DeviceError as second:
            raise DeviceError(f"{error}; and its fallback: {second}") from None
        _LOG.warning("%s; %s takes over", error, engine.device)
        return engine


@dataclass(frozen=True)
class _Plan:
    """How a model is to be compiled and waited for, whatever the device."""

    cache: Path | None
    hint: str
    threads: int | None
    embedding: bool
    patience: float
    modern: bool


class _Engine:
    """A model compiled for one device, and its requests."""

    def __init__(self, core: Any, files: ModelFiles, device: str, plan: _Plan) -> None:
        manifest = files.manifest
        shape = (1, 1, *manifest.spec.shape)
        try:
            model = core.read_model(str(files.xml))
        except Exception as error:
            raise ModelError(
                f"{files.xml}: OpenVINO cannot read it: {devices.first_line(error)}"
            ) from None
        _check(model, files, list(shape))
        if plan.embedding:
            try:
                model.add_outputs([embedding_of(model)])
            except ValueError as error:
                raise ModelError(f"{files.xml}: it has no embedding: {error}") from None
        # NPU and stick take no dynamic shape; the others are faster without.
        model.reshape(list(shape))
        self.asked = device
        self._precision = manifest.precision
        self._shape = shape
        self._classes = len(manifest.labels)
        self._outputs = 2 if plan.embedding else 1
        # The CPU is where this program runs itself: it may be busy, it does not hang.
        self._patience = math.inf if device == "CPU" else plan.patience
        self.compiled = _compile(core, model, device, plan)
        self._only = _executing(self.compiled, device) if device == "CPU" else ""
        # One more waits where the device takes only one at a time, so that it never does.
        self.streams = _optimal(self.compiled)
        self._requests = _Requests([self._request() for _ in range(max(2, self.streams))])
        self._lost: str | None = None
        with _FIRST_TENSOR:
            first = self._request()
            _ = first.get_input_tensor(0).data, first.get_output_tensor(0).data

    @property
    def device(self) -> str:
        # One device is what it is; to ask takes 0.1 ms of each answer.
        return self._only or _executing(self.compiled, self.asked)

    def begin(self, image: npt.NDArray[np.uint8], wait: bool) -> Any:
        """Start a request; None where all are busy and ``wait`` is false."""
        request = self._requests.take(wait, self._check_lost)
        if request is None:
            return None
        try:
            self._start(request, image)
        except RuntimeError as error:
            self._requests.give(request)
            raise self._failed(error) from None
        return request

    def finish(self, request: Any) -> Output:
        """Wait for a request that was begun; it is then free for another."""
        try:
            self._wait(request)
            values = [
                np.array(request.get_output_tensor(number).data, dtype=np.float32).reshape(-1)
                for number in range(self._outputs)
            ]
        except DeviceError:  # it never comes back
            raise
        except RuntimeError as error:  # a stick pulled out, a GPU reset
            self._requests.give(request)
            raise self._failed(error) from None
        self._requests.give(request)
        return self._checked(values)

    def once(self, image: npt.NDArray[np.uint8]) -> Output:
        """Run one image on a request of its own."""
        request = self._request()
        try:
            self._start(request, image)
        except RuntimeError as error:
            raise self._failed(error) from None
        return self.finish(request)  # which then has one request more

    def drop(self, request: Any) -> None:
        """Free a request that was begun, whatever it says."""
        try:
            self._wait(request)
        except DeviceError:
            return
        except RuntimeError:
            pass
        self._requests.give(request)

    def _request(self) -> Any:
        return self.compiled.create_infer_request()

    def _start(self, request: Any, image: npt.NDArray[np.uint8]) -> None:
        # Written where the network reads it: a tensor made of each image costs 0.1 ms.
        request.get_input_tensor(0).data[...] = image.reshape(self._shape)
        request.start_async()

    def _wait(self, request: Any) -> None:
        deadline = time.monotonic() + self._patience
        while not request.wait_for(_LOOK_MS):
            self._check_lost()
            if time.monotonic() > deadline:
                self._lost = f"{self.device} has not answered for {self._patience:g} s"
                raise DeviceError(self._lost)

    def _check_lost(self) -> None:
        if self._lost is not None:
            raise DeviceError(self._lost)

    def _failed(self, error: Exception) -> DeviceError:
        return DeviceError(f"{self.device} failed: {devices.first_line(error)}")

    def _checked(self, values: Sequence[npt.NDArray[np.float32]]) -> Output:
        logits = values[0]
        if logits.size != self._classes:
            raise DeviceError(
                f"the network gave {logits.size} logits for {self._classes} labels: it is damaged"
            )
        # Mel images are bytes: whatever is not finite came from the device.
        if not all(np.isfinite(each).all() for each in values):
            computed = _computing(self.compiled)
            raise DeviceError(
                f"{self.device} gave scores that are not finite (model in {self._precision}"
                f"{f', computed in {computed}' if computed else ''})"
                + ("" if self.device == "CPU" else "; -d CPU or --fallback CPU may help")
            )
        return Output(logits, values[1] if len(values) > 1 else None, self.device)


@dataclass(frozen=True)
class _Asked:
    """An image on its way."""

    engine: _Engine
    request: Any
    image: npt.NDArray[np.uint8]


class _Requests:
    """Free requests, given in turn: a thread with much to ask lets the others in between."""

    def __init__(self, requests: Iterable[Any]) -> None:
        self._free = deque(requests)
        self._turns: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, wait: bool, check: Any) -> Any:
        """A free request; None where there is none, or others wait already, and not ``wait``.

        ``check()`` is called every now and then and may raise.
        """
        check()
        with self._changed:
            if self._free and not self._turns:
                return self._free.popleft()
            if not wait:
                return None
            turn = object()
            self._turns.append(turn)
            try:
                while not self._free or self._turns[0] is not turn:
                    self._changed.wait(_LOOK_MS / 1000)
                    check()
                return self._free.popleft()
            finally:
                self._turns.remove(turn)
                self._changed.notify_all()

    def give(self, request: Any) -> None:
        with self._changed:
            self._free.append(request)
            self._changed.notify_all()


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


def _compile(core: Any, model: Any, device: str, plan: _Plan) -> Any:
    settings = _settings(device, plan)
    try:
        return core.compile_model(model, device, settings)
    except Exception as error:
        first = error
    if settings.pop("CACHE_DIR", None) is not None:  # a damaged cache must not stop anybody
        try:
            return core.compile_model(model, device, settings)
        except Exception as error:
            first = error
    raise devices.cannot_run(device, tuple(core.available_devices), first) from None


def _settings(device: str, plan: _Plan) -> dict[str, Any]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": plan.hint.upper()}
    # CPUs with bf16 would use it unasked, and answer differently from all others.
    cpu: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if plan.threads is not None:
        cpu["INFERENCE_NUM_THREADS"] = plan.threads
    if device == "CPU":
        settings |= cpu
        if plan.threads is not None and plan.hint == "throughput" and not plan.modern:
            # 2022.3 forgets the threads over the hint. What the hint means is a stream a thread.
            del settings["PERFORMANCE_HINT"]
            settings["NUM_STREAMS"] = plan.threads
    elif plan.modern and device not in devices.parts_of(device) and devices.may_use_cpu(device):
        # 2022.3 crashes on this setting; there AUTO and the like compute as the CPU likes.
        settings["DEVICE_PROPERTIES"] = {"CPU": cpu}
    if plan.cache is not None:
        settings["CACHE_DIR"] = str(plan.cache)
    return settings


def _executing(compiled: Any, asked: str) -> str:
    """Devices that run a compiled model, by OpenVINO's word."""
    try:
        found = compiled.get_property("EXECUTION_DEVICES")
    except Exception:  # 2022.3 has no such property for CPU and MULTI
        return ",".join(devices.parts_of(asked)) or asked
    names = found if isinstance(found, (list, tuple)) else str(found).replace(",", " ").split()
    # In brackets is what AUTO runs on until the device that it wants is ready.
    return ",".join(str(name).strip("()") for name in names) or asked


def _computing(compiled: Any) -> str:
    """Kind of number that a compiled model computes in, where the device says so."""
    try:
        found = compiled.get_property("INFERENCE_PRECISION_HINT")
    except Exception:
        return ""
    return str(getattr(found, "to_string", found.__str__)())


def _optimal(compiled: Any) -> int:
    try:
        return int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    except Exception:  # a plug-in that does not say
        return 1
