"""An IR on a device -> emotions for sounds, waveforms and mel images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edge_app.answers import Prediction, WindowPrediction
from edge_app.explanation import Explanation, find_spot, occlude
from edge_app.models import DEFAULT_MODEL, find_model
from edge_app.profiles import find_profile
from edge_app.runtime import Network, cache_folder
from ser_edge import audio
from ser_edge.audio import AudioError
from ser_edge.decision import Decision, decide, pool, speech_weights
from ser_edge.emotions import EMOTIONS
from ser_edge.labels import Grouping, find_grouping
from ser_edge.manifest import Manifest
from ser_edge.melimage import UInt8, mel_image
from ser_edge.profile import Profile


@dataclass(frozen=True)
class _Heard:
    """A sound's windows: logits, shares of speech, start and end in seconds, pictures if kept."""

    name: str
    logits: Sequence[npt.NDArray[np.float32]]
    weights: npt.NDArray[np.float64]
    spans: Sequence[tuple[float, float]]
    images: Sequence[UInt8]


class Classifier:
    """Hears emotions. Make one and keep it: compiling the network is the slow part.

    Parameters
    ----------
    model : str or path
        A model's name, or the ``.xml`` of an IR.
    device : str
        OpenVINO device, ``CPU``, ``GPU``, ``NPU``, ``MYRIAD``, ``AUTO``, ...
    precision : {"FP16", "INT8"}
        Which IR a name means.
    labels : str, path or Grouping, optional
        Coarser labels (:mod:`ser_edge.labels`): ``"7"``, ``"6"``, ``"4"``, ``"negative"``,
        ``"valence"``, a file of one's own, or a grouping made in Python. The answers are as
        before, with the groups' names and summed scores in place of the emotions'.
    profile : str, path or Profile, optional
        Of the person who speaks (:mod:`ser_edge.profile`): its name, a ``.json``, or one made in
        Python. What the model says of that voice on average is taken off its logits.

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
        that there is not (ProfileError), or that was made with another model.

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
        self._network = Network(files, device, cache_folder())
        self.device = self._network.device

    def __repr__(self) -> str:
        spec = self.manifest.spec
        return (
            f"Classifier({self.manifest.name!r}, device={self.device!r}, "
            f"precision={self.manifest.precision!r}, labels={list(self.labels)}, "
            f"image={spec.n_mels}x{spec.frames} at {spec.sample_rate} Hz)"
        )

    def predict(
        self,
        sound: str | os.PathLike[str] | BinaryIO | npt.NDArray[Any] | Sequence[float],
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
        return self._answer(self._hear(sound, rate))

    def logits(
        self,
        sound: str | os.PathLike[str] | BinaryIO | npt.NDArray[Any] | Sequence[float],
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
        heard = self._hear(sound, rate)
        return pool(heard.logits, heard.weights) if heard.weights.any() else None

    def explain(
        self,
        sound: str | os.PathLike[str] | BinaryIO | npt.NDArray[Any] | Sequence[float],
        rate: int | None = None,
        *,
        at: float | None = None,
        emotion: str | None = None,
    ) -> Explanation:
        """What in the mel image of a sound spoke for its answer, and what against it.

        The network is asked some 600 times (:mod:`edge_app.explanation`): seconds, not
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
            raise ValueError(f"emotion is {emotion!r}, allowed: {', '.join(labels)}")
        heard = self._hear(sound, rate, keep_images=True)
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
            most_against=find_spot(logits, image, label, -heat, temperature),
            offset=max(0.0, missing / 2) if spec.align == "center" else 0.0,
        )

    def decide(self, image: UInt8) -> Decision:
        """One mel image that holds speech -> the answer, with the profile and the labels.

        Parameters
        ----------
        image : ndarray
            ``uint8 (n_mels, frames)``.

        Returns
        -------
        Decision
            Its scores are in the order of ``labels``.

        Raises
        ------
        DeviceError
            As :meth:`predict`.
        """
        return self._decide([self._network.logits(image)], [1.0])

    def _hear(
        self,
        sound: str | os.PathLike[str] | BinaryIO | npt.NDArray[Any] | Sequence[float],
        rate: int | None,
        keep_images: bool = False,
    ) -> _Heard:
        if isinstance(sound, (str, os.PathLike)) or hasattr(sound, "read"):
            if rate is not None:
                raise ValueError("rate goes with a waveform; a file says its own")
            source: Any = sound
            name = audio.source_name(source)
            if Path(name).suffix.lower() == ".png":
                return self._hear_picture(source, name)
            blocks: Iterable[audio.Float32] = audio.read_blocks(
                source, self.manifest.spec.sample_rate
            )
            return self._hear_blocks(blocks, name, keep_images)
        if rate is None:
            raise ValueError("a waveform needs its rate: predict(waveform, rate=48000)")
        waveform = audio.as_mono(sound, rate, self.manifest.spec.sample_rate)
        return self._hear_blocks([waveform], "<waveform>", keep_images)

    def _hear_blocks(self, blocks: Iterable[audio.Float32], name: str, keep_images: bool) -> _Heard:
        spec = self.manifest.spec
        logits: list[npt.NDArray[np.float32]] = []
        levels: list[npt.NDArray[np.float32]] = []
        spans: list[tuple[float, float]] = []
        images: list[UInt8] = []
        for window in audio.windows(blocks, spec.window_samples, spec.hop_samples):
            image = mel_image(window.waveform, spec)
            logits.append(self._network.logits(image))
            levels.append(audio.levels(window.waveform, spec.sample_rate))
            end = window.start + window.waveform.size
            spans.append((window.start / spec.sample_rate, end / spec.sample_rate))
            if keep_images:
                images.append(image)
        return _Heard(name, logits, speech_weights(levels), spans, images)

    def _hear_picture(self, source: Any, name: str) -> _Heard:
        image = _read_picture(source, name, self.manifest.spec.shape)
        weight = np.array([1.0 if image.any() else 0.0])
        span = (0.0, self.manifest.spec.seconds)
        return _Heard(name, [self._network.logits(image)], weight, [span], [image])

    def _answer(self, heard: _Heard) -> Prediction:
        windows = []
        for (start, end), values, share in zip(
            heard.spans, heard.logits, heard.weights, strict=True
        ):
            # A silent window says nothing, as a silent clip does.
            answer = self._decide([values], [share])
            windows.append(
                WindowPrediction(
                    start,
                    end,
                    answer.emotion,
                    answer.confidence,
                    dict(zip(self.labels, answer.scores, strict=True)),
                )
            )
        whole = self._decide(heard.logits, heard.weights)
        return Prediction(
            file=heard.name,
            emotion=whole.emotion,
            confidence=whole.confidence,
            scores=dict(zip(self.labels, whole.scores, strict=True)),
            duration=heard.spans[-1][1],
            device=self.device,
            model=self.manifest.name,
            windows=tuple(windows),
            profile=None if self.profile is None else self.profile.name,
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
            audio.opened(source, name) as file,
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
