"""Bodies and responses in the OpenAPI document; ``tests/component/test_server.py`` checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge_app.language.annotations import Annotations
from edge_app.language.interpretation import FROM_SCORES, NO_MODEL
from edge_app.results import Prediction
from edge_app.server.annotations import NO_TRANSCRIBER

_SCORES: Final = {
    "neutral": 0.06,
    "calm": 0.02,
    "happy": 0.1,
    "sad": 0.04,
    "angry": 0.61,
    "fearful": 0.06,
    "disgust": 0.08,
    "surprised": 0.03,
}
_WINDOW: Final = {
    "start": 0.0,
    "end": 3.2,
    "emotion": "angry",
    "confidence": 0.61,
    "scores": _SCORES,
}

PREDICTION: Final[Mapping[str, Any]] = {
    "file": "clip.wav",
    "emotion": "angry",
    "confidence": 0.61,
    "scores": _SCORES,
    "duration": 3.2,
    "device": "CPU",
    "model": "compact",
    "profile": None,
    "windows": [_WINDOW],
    "segments": [_WINDOW],
}

PROCESSED: Final[Mapping[str, Any]] = {
    "Emotion Probabilities": _SCORES,
    "Transcription": None,
    "Transcription Parts": None,
    "Transcription Reason": NO_TRANSCRIBER,
    "LLM Interpretation": "From the scores alone: the voice sounds most like angry (61%), "
    "then happy (10%) and disgust (8%).",
    "LLM Interpretation Source": FROM_SCORES,
    "LLM Interpretation Reason": NO_MODEL,
}

_PROCESSED_FIELDS: Final[Mapping[str, str]] = {
    "Transcription": "transcription",
    "Transcription Parts": "transcription_parts",
    "Transcription Reason": "transcription_reason",
    "LLM Interpretation": "interpretation",
    "LLM Interpretation Source": "interpretation_source",
    "LLM Interpretation Reason": "interpretation_reason",
}


def processed(prediction: Prediction, annotations: Annotations) -> dict[str, Any]:
    """Response of ``POST /process_audio``."""
    values = annotations.to_dict()
    return {
        "Emotion Probabilities": prediction.to_dict()["scores"],
        **{name: values[field] for name, field in _PROCESSED_FIELDS.items()},
    }


DESCRIPTION: Final = """\
Which emotion a voice sounds like, according to a small network that was trained on actors. It
guesses how a voice sounds; it does not know how a person feels. Not for decisions about people.

`WS /v1/stream?rate=16000` (which OpenAPI cannot describe): send signed 16-bit little-endian mono
PCM in binary messages of any length, and the text `end` to finish; receive one JSON object for each
event, of `kind` window, segment or change. With `&image=1` each window is followed by a binary
message, the mel image of the window (rows of `image.frames` bytes, lowest band first; see
`GET /v1/models` for the sizes).

Every error is `{"error": "what is wrong, and what is allowed"}`.
"""

_BINARY: Final = {"type": "string", "format": "binary"}
FORM_BODY: Final[Mapping[str, Any]] = {
    "multipart/form-data": {
        "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}}
    }
}
RAW_BODY: Final[Mapping[str, Any]] = {
    "audio/*": {"schema": _BINARY},
    "image/png": {"schema": _BINARY},
    "application/octet-stream": {"schema": _BINARY},
}

_ERRORS: Final = {
    401: ("the token is missing or wrong", "this server needs a token: ..."),
    408: ("the body arrived too slowly", "the file arrived too slowly, allowed: 60 s in all ..."),
    413: ("too large or too long", "the file is too large, allowed: up to 32 MB"),
    415: ("unsupported media type", "x.html: it is text/html, allowed: audio/*, ..."),
    422: ("not audio, or damaged", "x.wav: it is not sound that can be read here, allowed: ..."),
    429: ("too many requests from one address", "your address has 12 requests open, ..."),
    503: ("busy, stopping, or the device failed", "all 16 slots are taken, try again ..."),
}


def json_answer(example: Mapping[str, Any], description: str) -> dict[str, Any]:
    """OpenAPI description of a JSON response with an example."""
    return {
        "description": description,
        "content": {"application/json": {"schema": {"type": "object"}, "example": dict(example)}},
    }


def sound_answers(ok: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of all responses of a route that takes a file."""
    errors: dict[int | str, dict[str, Any]] = {
        status: json_answer({"error": example}, description)
        for status, (description, example) in _ERRORS.items()
    }
    return {200: dict(ok), **errors}


def request_body(*kinds: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI description of a request body."""
    content = {kind: schema for each in kinds for kind, schema in each.items()}
    return {"requestBody": {"required": True, "content": content}}
