"""The edge app: sound -> mel image -> OpenVINO IR -> an emotion.

>>> from edge_app import Classifier
>>> Classifier().predict("clip.wav").emotion  # doctest: +SKIP
'angry'
"""

from edge_app.answers import Event, Prediction, Segment, WindowPrediction
from edge_app.classifier import Classifier
from edge_app.explanation import Explanation
from edge_app.models import ModelError
from edge_app.profiles import ProfileError
from edge_app.runtime import DeviceError
from ser_edge.audio import AudioError
from ser_edge.profile import Profile

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
