"""What an evaluation needs of the edge app's ``Classifier``; the library does not import that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ser_edge.manifest import Manifest


class SoundWindow(Protocol):
    """A window of an answer: ``start`` and ``end`` in seconds."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def emotion(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, float]: ...


class SoundAnswer(Protocol):
    """The answer for one sound: ``duration`` in seconds."""

    @property
    def emotion(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def scores(self) -> Mapping[str, float]: ...
    @property
    def duration(self) -> float: ...
    @property
    def windows(self) -> Sequence[SoundWindow]: ...
    def to_dict(self) -> dict[str, Any]: ...


class SoundClassifier(Protocol):
    """A sound file, or a waveform and its rate in Hz -> answer: ``edge_app.Classifier``."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def device(self) -> str: ...
    def predict(self, sound: Any, rate: int | None = None) -> SoundAnswer: ...


OpenClassifier: TypeAlias = Callable[[str], SoundClassifier]
"""The ``.xml`` of an IR -> classifier: the class ``edge_app.Classifier``."""
