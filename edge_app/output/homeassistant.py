"""MQTT discovery messages, by which Home Assistant finds the sensors without configuration.

One retained message describes a device with all its sensors ("device discovery", Home Assistant
2024.11 or newer; https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from edge_app.results import SILENCE
from ser_edge import __version__
from ser_edge.emotions import UNKNOWN

ONLINE: Final = "online"
OFFLINE: Final = "offline"
"""Home Assistant's default payloads for availability."""


def identifier(text: str) -> str:
    """An identifier of letters, digits, ``_`` and ``-``; different texts give different ones.

    >>> identifier("ser-edge/kitchen")
    'ser-edge_kitchen'
    """
    plain = re.sub(r"[^a-z0-9-]+", "_", text.lower()).strip("_")
    if re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)*", text):
        return plain
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:8]}".strip("_")


def discovery(
    node: str,
    name: str,
    labels: Sequence[str],
    state_topic: str,
    scores_topic: str,
    availability_topic: str,
) -> dict[str, Any]:
    """The payload of ``<discovery prefix>/device/<node>/config``.

    Parameters
    ----------
    node : str
        Permanent identifier of the device; renamed entities keep it.
    name : str
        Display name of the device.
    labels : sequence of str
        The model's, in their order; one sensor each.
    state_topic : str
        Topic of the emotion: JSON as from :meth:`edge_app.results.Event.to_dict`.
    scores_topic : str
        Topic of confidence and scores, in the same form.
    availability_topic : str
        Topic of :data:`ONLINE` and :data:`OFFLINE`.

    Returns
    -------
    dict
        Ready for JSON.
    """
    emotion = {
        "platform": "sensor",
        "name": "Emotion",
        "unique_id": f"{node}_emotion",
        "icon": "mdi:account-voice",
        "device_class": "enum",
        "options": list(dict.fromkeys([*labels, UNKNOWN, SILENCE])),
        "state_topic": state_topic,
        "value_template": "{{ value_json.emotion }}",
        "json_attributes_topic": state_topic,
        "json_attributes_template": "{{ {'time': value_json.time, 'source': value_json.source, "
        "'device': value_json.device, 'model': value_json.model} | tojson }}",
    }
    components = {"emotion": emotion}
    components["confidence"] = _percent(
        "Confidence", f"{node}_confidence", scores_topic, "value_json.confidence"
    )
    for label in labels:
        # Custom labels may contain quotes; Jinja parses string literals as Python does.
        score = _percent(
            f"Score {label}",
            f"{node}_score_{identifier(label)}",
            scores_topic,
            f"value_json.scores[{label!r}]",
        )
        components[f"score_{identifier(label)}"] = score | {"entity_category": "diagnostic"}
    return {
        "device": {
            "identifiers": [node],
            "name": name,
            "manufacturer": "ser-edge",
            "model": "Emotion in voices",
            "sw_version": __version__,
        },
        "origin": {"name": "ser-edge", "sw_version": __version__},
        "availability_topic": availability_topic,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "qos": 1,
        "components": components,
    }


def initial_state(labels: Sequence[str]) -> dict[str, Any]:
    """The state before the first event: Home Assistant shows "unknown", not an old state."""
    empty = dict.fromkeys(("start", "end", "time", "emotion", "confidence"))
    scores = dict.fromkeys(labels)
    return {"kind": "change", **empty, "scores": scores, "source": "", "device": "", "model": ""}


def _percent(name: str, unique_id: str, topic: str, value: str) -> dict[str, Any]:
    return {
        "platform": "sensor",
        "name": name,
        "unique_id": unique_id,
        "icon": "mdi:percent",
        "state_class": "measurement",
        "unit_of_measurement": "%",
        "suggested_display_precision": 0,
        "state_topic": topic,
        # Home Assistant reads "None" as no value.
        "value_template": f"{{{{ none if {value} is none else ({value} * 100) | round(1) }}}}",
    }
