"""An IR on a device -> emotions for sounds, waveforms and mel images."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from edge_app.inference.devices import DeviceError
from edge_app.inference.model_store import DEFAULT_MODEL, find_model
from edge_app.inference.occlusion import Explanation, find_spot, occlude
from edge_app.inference.profile_store import find_profile
from edge_app.inference.runtime import Network
from edge_app.results import Embedding, Prediction, WindowEmbedding, WindowPrediction
from edge_app.scoring import ScoredSound, ScoringOptions, Sound, score_sound
from edge_app.segmentation.segments import segments_of
from edge_app.threads import cores, in_order
from ser_edge.audio.base import MAX_SECONDS, AudioError
from ser_edge.commandline.arguments import did_you_mean
from ser_edge.decision import Decision, decide, pool
from ser_edge.emotions import EMOTIONS
from ser_edge.files import cache_folder
from ser_edge.labels import Grouping, find_grouping
from ser_edge.manifest import Manifest
from ser_edge.mel.image import UInt8
from ser_edge.profiles import Profile

Name = TypeVar("Name")

_MOST_WORKERS: Final = 4  # threads that score sounds, each some 15 MB for a long one


class Classifier:
    """Sounds -> emotions. Make one and keep it: compiling the network is the slow part.

    Any number of threads may use it at once.

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
        The device is not there or rejects the model.
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
        *,
        name: str | None = None,
        stop: threading.Event | None = None,
        max_seconds: float = MAX_SECONDS,
    ) -> Prediction:
        """A sound -> its emotion, scores, windows and segments.

        Parameters
        ----------
        sound : path, binary file object or array
            A sound file; a mel image (PNG, recognised by its first bytes); or a waveform,
            ``(samples,)`` or ``(samples, channels)``, with its ``rate``. A file is decoded while
            the network runs.
        rate : int, optional
            Of a waveform, in Hz.
        name : str, optional
            What the answer and errors call the sound; by default its path or the file object's
            name.
        stop : Event, optional
            Ends the work early once another thread sets it.
        max_seconds : float
            A longer sound is rejected as soon as that is known.

        Returns
        -------
        Prediction

        Raises
        ------
        AudioError
            The sound cannot be used; the message names it and the cause. Its subclass
            :class:`ser_edge.audio.base.SoundTooLongError` where it is too long.
        DeviceError
            The device failed, or gave scores that are not finite.
        Stopped
            ``stop`` was set.
        ValueError
            A waveform without its rate, or a rate with something else.
        """
        options = ScoringOptions(name=name, stop=stop, max_seconds=max_seconds)
        return self._answer(self._score(sound, rate, options))

    def predict_all(
        self,
        names: Iterable[Name],
        opened: Callable[[Name], Sound] | None = None,
        *,
        workers: int | None = None,
        progress: Callable[[Name, float], None] | None = None,
    ) -> Generator[tuple[Name, Prediction | AudioError | DeviceError], None, None]:
        """Many sounds -> their answers, in their order; one that fails does not stop the rest.

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
            Called with a name and the seconds of it that were scored, from any thread.

        Yields
        ------
        tuple
            The name, and its answer or why there is none.
        """

        def answer(name: Name, stop: threading.Event) -> Prediction | AudioError | DeviceError:
            def report(seconds: float) -> None:
                if progress is not None:
                    progress(name, seconds)

            try:
                sound: Any = name if opened is None else opened(name)
                scored = self._score(sound, None, ScoringOptions(stop=stop, progress=report))
                return self._answer(scored)
            except (AudioError, DeviceError) as error:
                return error.with_traceback(None)  # which would hold on to the sound

        def with_name(
            name: Name, stop: threading.Event
        ) -> tuple[Name, Prediction | AudioError | DeviceError]:
            return name, answer(name, stop)

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
        """Mel images -> the decision for each; while the device works, the next are taken.

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
        """A sound -> the input of the network's last layer: a vector to compare voices by.

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
        scored = score_sound(self._embedder, self.manifest.spec, sound, rate)
        if not scored.weights.any():
            raise AudioError(scored.name, "it is silent: there is nothing to embed")
        vectors = [output.embedding for output in scored.outputs if output.embedding is not None]
        return Embedding(
            file=scored.name,
            vector=pool(vectors, scored.weights).astype(np.float32),
            duration=scored.duration,
            device=scored.device,
            model=self.manifest.name,
            windows=tuple(
                WindowEmbedding(start, end, float(share), vector)
                for (start, end), share, vector in zip(
                    scored.spans, scored.weights, vectors, strict=True
                )
            ),
        )

    def logits(
        self,
        sound: Sound,
        rate: int | None = None,
    ) -> npt.NDArray[np.float64] | None:
        """A sound -> the network's logits: no profile, no temperature, the model's own labels.

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
        scored = self._score(sound, rate, ScoringOptions())
        return pool(scored.logits, scored.weights) if scored.weights.any() else None

    def explain(
        self,
        sound: Sound,
        rate: int | None = None,
        *,
        at: float | None = None,
        emotion: str | None = None,
    ) -> Explanation:
        """A sound -> what in its mel image speaks for the answer, and what against it.

        The network runs some 600 times (:mod:`edge_app.inference.occlusion`): seconds, not
        milliseconds. The mel images of all windows are kept until then, 45 MB an hour.

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
        scored = self._score(sound, rate, ScoringOptions(keep_images=True))
        answer = self._answer(scored)
        chosen = int(scored.weights.argmax())
        if at is not None:
            if not 0 <= at <= answer.duration:
                raise ValueError(f"at is {at:g} s, allowed: 0 to {answer.duration:.3f} s")
            chosen = int(np.argmin([abs((a + b) / 2 - at) for a, b in scored.spans]))
        window, image = answer.windows[chosen], scored.images[chosen]
        if scored.weights[chosen] <= 0:
            where = (
                f"from {window.start:.1f} to {window.end:.1f} s"
                if len(scored.spans) > 1
                else "there"
            )
            raise AudioError(scored.name, f"it is silent {where}: no answer to explain")
        spec, temperature = self.manifest.spec, self.manifest.calibration.temperature
        chosen_label = emotion or max(window.scores, key=lambda label: window.scores[label])
        label, logits = labels.index(chosen_label), self._network.logits
        heat = occlude(logits, image, label, spec, temperature)
        missing = spec.seconds - (window.end - window.start)
        return Explanation(
            prediction=answer,
            window=window,
            emotion=chosen_label,
            spec=spec,
            image=image,
            heat=heat,
            most_for=find_spot(logits, image, label, heat, temperature),
            most_against=find_spot(logits, image, label, heat, temperature, against=True),
            offset=max(0.0, missing / 2) if spec.align == "center" else 0.0,
        )

    def _score(self, sound: Sound, rate: int | None, options: ScoringOptions) -> ScoredSound:
        return score_sound(self._network, self.manifest.spec, sound, rate, options)

    def _answer(self, scored: ScoredSound) -> Prediction:
        whole = self._decide(scored.logits, scored.weights)
        windows = []
        for (start, end), values, share in zip(
            scored.spans, scored.logits, scored.weights, strict=True
        ):
            # A silent window says nothing, as a silent clip does.
            answer = whole if len(scored.spans) == 1 else self._decide([values], [share])
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
            file=scored.name,
            emotion=whole.emotion,
            confidence=whole.confidence,
            scores=dict(zip(self.labels, whole.scores, strict=True)),
            duration=scored.duration,
            device=scored.device,
            model=self.manifest.name,
            windows=tuple(windows),
            profile=None if self.profile is None else self.profile.name,
            segments=segments_of(windows, scored.speech),
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
