"""The edge app: sound -> mel image -> OpenVINO IR -> an emotion.

>>> from edge_app import Classifier
>>> Classifier().predict("clip.wav").emotion  # doctest: +SKIP
'angry'
"""

from edge_app.classifier import Classifier
from edge_app.inference.model_store import ModelError
from edge_app.inference.occlusion import Explanation
from edge_app.inference.profile_store import ProfileError
from edge_app.inference.runtime import DeviceError
from edge_app.results import Event, Prediction, Segment, WindowPrediction
from edge_app.threads import Stopped
from ser_edge.audio.base import AudioError
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
    "Stopped",
    "WindowPrediction",
]
