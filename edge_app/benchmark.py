"""How fast a model is here: the network by itself, and from a sound file stage by stage."""

from __future__ import annotations

import io
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import soundfile

from edge_app.classifier import Classifier
from edge_app.inference.devices import runtime_version
from ser_edge.audio import decode
from ser_edge.audio.base import Source
from ser_edge.audio.resample import as_mono
from ser_edge.decision import decide, pool, speech_weights
from ser_edge.mel.image import UInt8
from ser_edge.mel.streaming import mel_windows

STAGES: Final = ("decode", "resample", "mel", "network", "decision")


@dataclass(frozen=True)
class NetworkSpeed:
    """What OpenVINO's ``benchmark_app`` reports: milliseconds, but ``throughput`` a second."""

    count: int
    duration: float
    median: float
    average: float
    minimum: float
    maximum: float
    throughput: float


@dataclass(frozen=True)
class SoundSpeed:
    """From a sound file to an emotion.

    Parameters
    ----------
    file : str
    seconds : float
        Of sound.
    rate : float
        As it is stored, Hz.
    windows, repeats : int
    stages : dict
        Stage (:data:`STAGES`) -> milliseconds, median; one after the other.
    total : float
        Milliseconds of ``predict``, median, in which stages of a long sound overlap.
    """

    file: str
    seconds: float
    rate: float
    windows: int
    repeats: int
    stages: dict[str, float]
    total: float

    @property
    def times_real_time(self) -> float:
        """Seconds of sound a second."""
        return self.seconds * 1000 / self.total


@dataclass(frozen=True)
class Report:
    """What was measured, and on what."""

    openvino: str
    model: str
    precision: str
    computing: str
    image: tuple[int, int]
    device: str
    hint: str
    streams: int
    load: float
    network: NetworkSpeed
    sound: SoundSpeed

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; times in milliseconds."""
        values = asdict(self)
        values["sound"]["times_real_time"] = self.sound.times_real_time
        return values


def measure(
    classifier: Classifier, source: str | None, seconds: float, hint: str, load: float
) -> Report:
    """Measure a classifier's network, then the whole way, for ``seconds`` each.

    Parameters
    ----------
    classifier : Classifier
    source : str or None
        A sound file; None for five seconds at 48 kHz made here.
    seconds : float
        Above 0.
    hint : str
        That it was made with.
    load : float
        Milliseconds that making it took.

    Raises
    ------
    AudioError
        The sound cannot be used.
    DeviceError
        The device failed.
    """
    spec = classifier.manifest.spec
    content = _made_here() if source is None else None

    def opened() -> Source:
        return io.BytesIO(content) if content is not None else str(source)

    stored = decode.load_stored(opened())
    image = next(mel_windows([decode.load(opened(), spec.sample_rate)], spec)).image
    network = measure_network(classifier, image, seconds)
    name = "5 s made here" if source is None else os.fsdecode(source)
    sound = measure_sound(classifier, opened, name, stored, seconds)
    return Report(
        openvino=runtime_version(),
        model=classifier.manifest.name,
        precision=classifier.manifest.precision,
        computing=classifier.network.computing,
        image=spec.shape,
        device=classifier.device,
        hint=hint,
        streams=classifier.network.streams,
        load=load,
        network=network,
        sound=sound,
    )


def measure_network(classifier: Classifier, image: UInt8, seconds: float) -> NetworkSpeed:
    """Ask the network for ``seconds``, as many mel images at once as the device takes."""
    network = classifier.network
    network.logits(image)  # the first is slower
    times: list[list[float]] = [[] for _ in range(network.streams)]
    problems: list[Exception] = []
    begun = time.perf_counter()

    def ask(mine: list[float]) -> None:
        try:
            while not mine or time.perf_counter() - begun < seconds:
                start = time.perf_counter()
                network.logits(image)
                mine.append(1000 * (time.perf_counter() - start))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    duration = 1000 * (time.perf_counter() - begun)
    if problems:
        raise problems[0]
    every = [each for mine in times for each in mine]
    return NetworkSpeed(
        count=len(every),
        duration=duration,
        median=statistics.median(every),
        average=statistics.fmean(every),
        minimum=min(every),
        maximum=max(every),
        throughput=1000 * len(every) / duration,
    )


def measure_sound(
    classifier: Classifier,
    opened: Callable[[], Source],
    name: str,
    stored: Sequence[decode.Stored],
    seconds: float,
) -> SoundSpeed:
    """Take a sound through the stages, again and again for ``seconds``."""
    manifest = classifier.manifest
    spec, calibration, labels = manifest.spec, manifest.calibration, manifest.labels
    rounds: list[dict[str, float]] = []
    totals: list[float] = []
    begun = time.perf_counter()
    while not rounds or time.perf_counter() - begun < seconds:
        clock = _Clock()
        parts = decode.load_stored(opened())
        clock.lap("decode")
        blocks = [as_mono(part.samples, part.rate, spec.sample_rate) for part in parts]
        clock.lap("resample")
        found = list(mel_windows(blocks, spec))
        clock.lap("mel")
        logits = [output.logits for output in classifier.network.run(p.image for p in found)]
        clock.lap("network")
        weights = speech_weights([window.levels for window in found])
        for values, share in zip(logits, weights, strict=True):
            decide(pool([values], [share]), calibration, labels)
        decide(pool(logits, weights), calibration, labels)
        clock.lap("decision")
        rounds.append(clock.laps)
        start = time.perf_counter()
        answer = classifier.predict(opened())
        totals.append(1000 * (time.perf_counter() - start))
    return SoundSpeed(
        file=name,
        seconds=answer.duration,
        rate=stored[0].rate,
        windows=len(answer.windows),
        repeats=len(rounds),
        stages={stage: statistics.median(each[stage] for each in rounds) for stage in STAGES},
        total=statistics.median(totals),
    )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = 1000 * (now - self._last)
        self._last = now


def _made_here() -> bytes:
    """Five seconds of harmonics in syllables, 48 kHz WAV."""
    rate = 48_000
    t = np.arange(5 * rate) / rate
    phase = 2 * np.pi * np.cumsum(150 + 30 * np.sin(2 * np.pi * 0.7 * t)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    sound = 0.1 * voice * np.maximum(0, np.sin(2 * np.pi * 3 * t)) ** 2
    out = io.BytesIO()
    soundfile.write(out, sound, rate, "PCM_16", format="WAV")
    return out.getvalue()
