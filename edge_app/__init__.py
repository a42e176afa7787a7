"""The edge app: sound -> mel image -> OpenVINO IR -> an emotion.

>>> from edge_app import Classifier
>>> Classifier().predict("clip.wav").emotion  # doctest: +SKIP
'angry'
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_app.classifier import Classifier
    from edge_app.inference.model_store import ModelError
    from edge_app.inference.occlusion import Explanation
    from edge_app.inference.profile_store import ProfileError
    from edge_app.inference.runtime import DeviceError
    from edge_app.results import Event, Prediction, Segment, WindowPrediction
    from ser_edge.audio.decode import AudioError
    from ser_edge.profiles import Profile

__all__ = [
    "AudioError",
    "Classifier",
    "DeviceError",
    "Event",
    "Explanation",
    "ModelError",
    "Prediction",
    "Profile",
    "ProfileError",
    "Segment",
    "WindowPrediction",
]

_MODULES = {
    "AudioError": "ser_edge.audio.decode",
    "Classifier": "edge_app.classifier",
    "DeviceError": "edge_app.inference.runtime",
    "Explanation": "edge_app.inference.occlusion",
    "ModelError": "edge_app.inference.model_store",
    "Profile": "ser_edge.profiles",
    "ProfileError": "edge_app.inference.profile_store",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: ``edge-app --version`` needs none of them."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_MODULES.get(name, "edge_app.results")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
