"""An IR on a device -> emotions for sounds, waveforms and mel images."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from edge_app.inference.devices import DeviceError
from edge_app.inference.file_windows import pictures
from edge_app.inference.model_store import DEFAULT_MODEL, find_model
from edge_app.inference.occlusion import Explanation, find_spot, occlude
from edge_app.inference.profile_store import find_profile
from edge_app.inference.runtime import Network, Output, cache_folder
from edge_app.results import Embedding, Prediction, WindowEmbedding, WindowPrediction
from edge_app.segmentation.segments import segments_of
from edge_app.segmentation.vad import Span, SpeechGate, joined
from edge_app.threads import Stopped, cores, in_order, read_ahead
from ser_edge.arguments import did_you_mean
from ser_edge.audio import decode
from ser_edge.audio.decode import AudioError
from ser_edge.decision import Decision, decide, pool, speech_weights
from ser_edge.emotions import EMOTIONS
from ser_edge.labels import Grouping, find_grouping
from ser_edge.manifest import Manifest
from ser_edge.mel.image import UInt8
from ser_edge.profiles import Profile

Sound: TypeAlias = "str | os.PathLike[str] | BinaryIO | npt.NDArray[Any] | Sequence[float]"
"""What can be heard: a path, a binary file object, or a waveform (with its rate)."""

Name = TypeVar("Name")

_BLOCKS_AHEAD: Final = 2  # of 2 MB: decoded while the ones before are heard
_MOST_WORKERS: Final = 4  # threads that hear sounds, each some 15 MB for a long one


@dataclass(frozen=True)
class _Heard:
    """A sound's windows: outputs, shares of speech, start and end in seconds, pictures if kept.

    ``speech`` is where somebody speaks, whatever the windows.
    """

    name: str
    outputs: Sequence[Output]
    weights: npt.NDArray[np.float64]
    spans: Sequence[tuple[float, float]]
    images: Sequence[UInt8]
    speech: Sequence[Span]

    @property
    def logits(self) -> list[npt.NDArray[np.float32]]:
        return [output.logits for output in self.outputs]

    @property
    def device(self) -> str:
        """All that ran a window of it, in their order: a fallback may have taken over midway."""
        names = (name for output in self.outputs for name in output.device.split(","))
        return ",".join(dict.fromkeys(names))


@dataclass(frozen=True)
class _Hearing:
    """What goes along with hearing one sound."""

    keep_images: bool = False
    stop: threading.Event | None = None
    progress: Callable[[float], None] | None = None


class Classifier:
    """Hears emotions. Make one and keep it: compiling the network is the slow part.

    Any number of threads may ask it at once.

    Parameters
    ----------
    model : str or path
        A model's name, or the ``.xml`` of an IR.
    device : str
        OpenVINO device, ``CPU``, ``GPU``, ``NPU``, ``MYRIAD``, ``AUTO``, ``AUTO:NPU,CPU``, ...
    precision : {"FP16", "INT8"}
        Which IR a name means.
    labels : str, path or Grouping, optional
        Coarser labels (:mod:`ser_edge.labels`): ``"7"``, ``"6"``, ``"4"``, ``"negative"``,
        ``"valence"``, a file of one's own, or a grouping made in Python. The answers are as
        before, with the groups' names and summed scores in place of the emotions'.
    profile : str, path or Profile, optional
        Of the person who speaks (:mod:`ser_edge.profiles`): its name, a ``.json``, or one made in
        Python. What the model says of that voice on average is taken off its logits.
    hint : {"latency", "throughput"}
        One answer as soon as can be (a microphone), or as many as can be in all (many or long
        sounds).
    threads : int, optional
        Of the CPU, at most, for the network.
    fallback : str, optional
        Device that takes over, for good, when ``device`` is not there, fails, hangs or gives
        scores that are not finite. Answers name it; the log ``edge_app`` says it once.

    Attributes
    ----------
    labels : tuple of str
        What the scores of its answers belong to, in their order.
    profile : Profile or None
        Of the person who speaks.

    Raises
    ------
    ModelError
        No such model, or one that is damaged or says too little of itself.
    DeviceError
        The device is not there or refuses the model.
    ValueError
        Labels that there are not, or a file that is no grouping of the model's labels; a profile
        that there is not (ProfileError), or that was made with another model; a hint, threads or
        a fallback that make no sense.

    Examples
    --------
    >>> classifier = Classifier()  # doctest: +SKIP
    >>> classifier.predict("clip.wav").emotion  # doctest: +SKIP
    'happy'
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        device: str = "CPU",
        precision: str = "FP16",
        labels: str | os.PathLike[str] | Grouping | None = None,
        profile: str | os.PathLike[str] | Profile | None = None,
        *,
        hint: str = "latency",
        threads: int | None = None,
        fallback: str | None = None,
    ) -> None:
        if labels is not None and not isinstance(labels, Grouping):
            labels = find_grouping(labels)
        if profile is not None and not isinstance(profile, Profile):
            profile = find_profile(profile)
        files = find_model(os.fspath(model), precision)
        self.manifest: Manifest = files.manifest
        self._grouping = labels
        self.labels = files.manifest.labels
        if labels is not None:
            _check_labels(labels, files.manifest)
            self.labels = labels.names
        self.profile = profile
        if profile is not None:
            _check_profile(profile, files.manifest)
        self._lock = threading.Lock()
        self._embedder: Network | None = None

        def network(embedding: bool) -> Network:
            return Network(
                files,
                device,
                cache_folder(),
                hint=hint,
                threads=threads,
                fallback=fallback,
                embedding=embedding,
            )

        self._make_network = network
        self._network = network(False)

    @property
    def device(self) -> str:
        """OpenVINO device that runs the network now: AUTO may change it, a fallback does."""
        return self._network.device

    @property
    def network(self) -> Network:
        """The network itself: mel images in, logits out, for whoever makes the images."""
        return self._network

    def __repr__(self) -> str:
        spec = self.manifest.spec
        return (
            f"Classifier({self.manifest.name!r}, device={self.device!r}, "
            f"precision={self.manifest.precision!r}, labels={list(self.labels)}, "
            f"image={spec.n_mels}x{spec.frames} at {spec.sample_rate} Hz)"
        )

    def predict(
        self,
        sound: Sound,
        rate: int | None = None,
    ) -> Prediction:
        """The emotion of one sound.

        Parameters
        ----------
        sound : path, binary file object or array
            A sound file; a ``.png`` mel image; or a waveform, ``(samples,)`` or
            ``(samples, channels)``, with its ``rate``.
        rate : int, optional
            Of a waveform, in Hz.

        Returns
        -------
        Prediction

        Raises
        ------
        AudioError
            The sound cannot be used; the message names it and the cause.
        DeviceError
            The device failed, or gave scores that are not finite.
        ValueError
            A waveform without its rate, or a rate with something else.
        """
        return self._answer(self._hear(self._network, sound, rate))

    def predict_all(
        self,
        names: Iterable[Name],
        opened: Callable[[Name], Sound] | None = None,
        *,
        workers: int | None = None,
        progress: Callable[[Name, float], None] | None = None,
    ) -> Generator[tuple[Name, Prediction | AudioError | DeviceError], None, None]:
        """The emotions of many sounds, in their order; one that fails does not stop the rest.

        Some sounds are decoded ahead by threads while the network runs, so that all cores have
        work. Memory grows with neither their number nor their lengths, but for the windows of the
        answers that wait for their turn.

        Parameters
        ----------
        names : iterable
            Paths or file objects; anything at all with ``opened``.
        opened : callable, optional
            Name -> what :meth:`predict` takes; may raise AudioError. Called in a thread.
        workers : int, optional
            Threads; as a rule one more than the device takes windows at once, at most one a core
            and at most 4. With 0, the caller's alone.
        progress : callable, optional
            Called with a name and the seconds of it that were heard, from any thread.

        Yields
        ------
        tuple
            The name, and its answer or why there is none.
        """

        def hear(name: Name, stop: threading.Event) -> Prediction | AudioError | DeviceError:
            def tell(seconds: float) -> None:
                if progress is not None:
                    progress(name, seconds)

            try:
                sound: Any = name if opened is None else opened(name)
                return self._answer(
                    self._hear(self._network, sound, None, _Hearing(stop=stop, progress=tell))
                )
            except (AudioError, DeviceError) as error:
                return error.with_traceback(None)  # which would hold on to the sound

        def with_name(
            name: Name, stop: threading.Event
        ) -> tuple[Name, Prediction | AudioError | DeviceError]:
            return name, hear(name, stop)

        if workers is None:
            workers = min(cores(), _MOST_WORKERS, 1 + self._network.streams)
        if workers < 0:
            raise ValueError(f"workers are {workers}, allowed: 0 or more")
        if workers == 0:
            never = threading.Event()
            return (with_name(name, never) for name in names)
        return in_order(with_name, names, workers)

    def predict_images(
        self, images: Iterable[UInt8], weights: Iterable[float] | None = None
    ) -> list[Decision]:
        """The emotion of each mel image by itself; while the device works, the next are taken.

        Parameters
        ----------
        images : iterable of ndarray
            ``uint8 (n_mels, frames)``, as the model's specification says.
        weights : iterable of float, optional
            Of each, its share of speech; 0 where it is silent, so that it says nothing. Without
            them, all count.

        Returns
        -------
        list of Decision
            Scores in the order of ``labels``.

        Raises
        ------
        DeviceError
            As :meth:`predict`.
        ValueError
            An image of another shape or type, or weights of another number.
        """
        shape = self.manifest.spec.shape

        def checked() -> Iterator[UInt8]:
            for image in images:
                if image.shape != shape or image.dtype != np.uint8:
                    raise ValueError(
                        f"an image is {image.dtype} {image.shape}, it should be uint8 {shape}"
                    )
                yield image

        outputs = list(self._network.run(checked()))
        shares = [1.0] * len(outputs) if weights is None else list(weights)
        if len(shares) != len(outputs):
            raise ValueError(f"{len(shares)} weights for {len(outputs)} images")
        return [
            self._decide([output.logits], [share])
            for output, share in zip(outputs, shares, strict=True)
        ]

    def embed(self, sound: Sound, rate: int | None = None) -> Embedding:
        """What the network's last layer looks at: a vector in which voices can be compared.

        It is a second output of the network, which is compiled once more for it, at the first
        call. Neither labels nor profile play a part.

        Parameters
        ----------
        sound, rate
            As :meth:`predict` takes them.

        Returns
        -------
        Embedding

        Raises
        ------
        AudioError
            The sound cannot be used, or is silent, so that there is nothing to embed.
        DeviceError, ValueError
            As :meth:`predict`; ModelError where the network has no such layer.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = self._make_network(True)
        heard = self._hear(self._embedder, sound, rate)
        if not heard.weights.any():
            raise AudioError(heard.name, "it is silent: there is nothing to embed")
        vectors = [output.embedding for output in heard.outputs if output.embedding is not None]
        return Embedding(
            file=heard.name,
            vector=pool(vectors, heard.weights).astype(np.float32),
            duration=heard.spans[-1][1],
            device=heard.device,
            model=self.manifest.name,
            windows=tuple(
                WindowEmbedding(start, end, float(share), vector)
                for (start, end), share, vector in zip(
                    heard.spans, heard.weights, vectors, strict=True
                )
            ),
        )

    def logits(
        self,
        sound: Sound,
        rate: int | None = None,
    ) -> npt.NDArray[np.float64] | None:
        """What the network says of one sound: no profile, no temperature, the model's own labels.

        Parameters
        ----------
        sound, rate
            As :meth:`predict` takes them.

        Returns
        -------
        ndarray or None
            ``float64 (classes,)``, the weighted mean over its windows; None where it is silent.

        Raises
        ------
        AudioError, DeviceError, ValueError
            As :meth:`predict`.
        """
        heard = self._hear(self._network, sound, rate)
        return pool(heard.logits, heard.weights) if heard.weights.any() else None

    def explain(
        self,
        sound: Sound,
        rate: int | None = None,
        *,
        at: float | None = None,
        emotion: str | None = None,
    ) -> Explanation:
        """What in the mel image of a sound spoke for its answer, and what against it.

        The network is asked some 600 times (:mod:`edge_app.inference.occlusion`): seconds, not
        milliseconds. The pictures of all windows are kept until then, 45 MB an hour.

        Parameters
        ----------
        sound, rate
            As :meth:`predict` takes them.
        at : float, optional
            Seconds into the sound: of a longer one, the window whose middle is nearest is
            explained. Without it, the one that holds the most speech.
        emotion : str, optional
            One of the model's labels. Without it, the one with the window's highest score, also
            where that is below the threshold.

        Returns
        -------
        Explanation

        Raises
        ------
        AudioError
            The sound cannot be used, or is silent, so that there is no answer to explain.
        DeviceError
            As :meth:`predict`.
        ValueError
            An emotion that the model does not know, ``at`` outside the sound, coarser labels, or
            a profile.
        """
        labels = self.manifest.labels
        if self._grouping is not None:
            raise ValueError("what is explained is one of the model's own labels: leave out labels")
        if self.profile is not None:
            raise ValueError("what is explained is what the model says to everybody: no profile")
        if emotion is not None and emotion not in labels:
            raise ValueError(
                f"emotion is {emotion!r}, allowed: {', '.join(labels)}"
                f"{did_you_mean(emotion, labels)}"
            )
        heard = self._hear(self._network, sound, rate, _Hearing(keep_images=True))
        answer = self._answer(heard)
        chosen = int(heard.weights.argmax())
        if at is not None:
            if not 0 <= at <= answer.duration:
                raise ValueError(f"at is {at:g} s, allowed: 0 to {answer.duration:.3f} s")
            chosen = int(np.argmin([abs((a + b) / 2 - at) for a, b in heard.spans]))
        window, image = answer.windows[chosen], heard.images[chosen]
        if heard.weights[chosen] <= 0:
            where = (
                f"from {window.start:.1f} to {window.end:.1f} s"
                if len(heard.spans) > 1
                else "there"
            )
            raise AudioError(heard.name, f"it is silent {where}: no answer to explain")
        spec, temperature = self.manifest.spec, self.manifest.calibration.temperature
        asked = emotion or max(window.scores, key=lambda label: window.scores[label])
        label, logits = labels.index(asked), self._network.logits
        heat = occlude(logits, image, label, spec, temperature)
        missing = spec.seconds - (window.end - window.start)
        return Explanation(
            prediction=answer,
            window=window,
            emotion=asked,
            spec=spec,
            image=image,
            heat=heat,
            most_for=find_spot(logits, image, label, heat, temperature),
            most_against=find_spot(logits, image, label, heat, temperature, against=True),
            offset=max(0.0, missing / 2) if spec.align == "center" else 0.0,
        )

    def _hear(
        self,
        network: Network,
        sound: Sound,
        rate: int | None,
        hearing: _Hearing = _Hearing(),
    ) -> _Heard:
        if isinstance(sound, (str, os.PathLike)) or hasattr(sound, "read"):
            if rate is not None:
                raise ValueError("rate goes with a waveform; a file says its own")
            source: Any = sound
            name = decode.source_name(source)
            if Path(name).suffix.lower() == ".png":
                return self._hear_picture(network, source, name)
            decoded = decode.read_blocks(source, self.manifest.spec.sample_rate)
            return self._hear_blocks(network, read_ahead(decoded, _BLOCKS_AHEAD), name, hearing)
        if rate is None:
            raise ValueError("a waveform needs its rate: predict(waveform, rate=48000)")
        waveform = decode.as_mono(sound, rate, self.manifest.spec.sample_rate)
        return self._hear_blocks(network, iter([waveform]), "<waveform>", hearing)

    def _hear_blocks(
        self, network: Network, blocks: Iterator[decode.Float32], name: str, hearing: _Hearing
    ) -> _Heard:
        spec = self.manifest.spec
        levels: list[npt.NDArray[np.float32]] = []
        spans: list[tuple[float, float]] = []
        images: list[UInt8] = []
        speech: list[Span] = []
        gate = SpeechGate(spec)

        def noted() -> Iterator[UInt8]:
            for picture in pictures(blocks, spec):
                if hearing.stop is not None and hearing.stop.is_set():
                    raise Stopped
                end = picture.end / spec.sample_rate
                levels.append(picture.levels)
                spans.append((picture.start / spec.sample_rate, end))
                if hearing.keep_images:
                    images.append(picture.image)
                if hearing.progress is not None:
                    hearing.progress(end)
                yield picture.image
                # While the device works on some windows, the gate looks at them, and the next
                # are decoded and drawn.
                speech.extend(gate.feed(picture.fresh))

        with closing(network.run(noted())) as running:
            outputs = list(running)
        speech.extend(gate.finish(spans[-1][1]))
        return _Heard(name, outputs, speech_weights(levels), spans, images, joined(speech))

    def _hear_picture(self, network: Network, source: Any, name: str) -> _Heard:
        image = _read_picture(source, name, self.manifest.spec.shape)
        weight = np.array([1.0 if image.any() else 0.0])
        span = (0.0, self.manifest.spec.seconds)
        speech = [Span(*span)] if image.any() else []
        return _Heard(name, list(network.run([image])), weight, [span], [image], speech)

    def _answer(self, heard: _Heard) -> Prediction:
        whole = self._decide(heard.logits, heard.weights)
        windows = []
        for (start, end), values, share in zip(
            heard.spans, heard.logits, heard.weights, strict=True
        ):
            # A silent window says nothing, as a silent clip does.
            answer = whole if len(heard.spans) == 1 else self._decide([values], [share])
            windows.append(
                WindowPrediction(
                    start,
                    end,
                    answer.emotion,
                    answer.confidence,
                    dict(zip(self.labels, answer.scores, strict=True)),
                )
            )
        return Prediction(
            file=heard.name,
            emotion=whole.emotion,
            confidence=whole.confidence,
            scores=dict(zip(self.labels, whole.scores, strict=True)),
            duration=heard.spans[-1][1],
            device=heard.device,
            model=self.manifest.name,
            windows=tuple(windows),
            profile=None if self.profile is None else self.profile.name,
            segments=segments_of(windows, heard.speech),
        )

    def _decide(self, windows: npt.ArrayLike, weights: npt.ArrayLike) -> Decision:
        labels = self.manifest.labels
        logits = pool(windows, weights)
        if self.profile is not None and np.any(weights):  # silence says nothing of anybody
            logits = self.profile.apply(logits)
        answer = decide(logits, self.manifest.calibration, labels)
        return answer if self._grouping is None else self._grouping.regroup(answer, labels)


def _check_labels(grouping: Grouping, manifest: Manifest) -> None:
    strange = [label for label in manifest.labels if label not in EMOTIONS]
    if strange:
        raise ValueError(
            f"labels {grouping.name} are groups of {', '.join(EMOTIONS)}; the model "
            f"{manifest.name} has {', '.join(strange)}"
        )


def _check_profile(profile: Profile, manifest: Manifest) -> None:
    profile.check_model(manifest.name, manifest.weights_sha256, manifest.labels)


def _read_picture(source: Any, name: str, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        # PNG alone: Pillow would try every other format on it, some by way of other programs.
        with (
            decode.opened(source, name) as file,
            Image.open(file, formats=("PNG",)) as picture,
        ):
            mode, size = picture.mode, picture.size
            pixels = np.asarray(picture) if (mode, size) == ("L", shape[::-1]) else None
    except AudioError:
        raise
    except UnidentifiedImageError:
        raise AudioError(name, "it is not a PNG picture") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise AudioError(name, f"the picture cannot be read: {error}") from None
    if pixels is None:
        raise AudioError(
            name,
            f"it is no mel image of this model: {size[0]} x {size[1]} in mode {mode}, it should "
            f"be {shape[1]} x {shape[0]} in mode L (8-bit grey)",
        )
    return pixels
