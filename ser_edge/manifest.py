"""A model's description, stored inside the IR: labels, specification, calibration, hashes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ser_edge.decision import Calibration
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.spec import MelImageSpec

RT_INFO_KEY: Final = "model_info"
"""Where OpenVINO's Model API keeps such values inside an IR."""

FP16: Final = "FP16"
INT8: Final = "INT8"
PRECISIONS: Final = (FP16, INT8)
"""Kinds of IR, by the names of their folders."""

_HASH: Final = re.compile(rb'<xml_sha256 value="([0-9a-f]{64})"')
_NO_HASH: Final = b"0" * 64

_REQUIRED: Final = (
    "name",
    "labels",
    "mel_image",
    "temperature",
    "threshold",
    "corpora",
    "weights_sha256",
)


@dataclass(frozen=True)
class Manifest:
    """Everything that the edge app needs to know about a network.

    Parameters
    ----------
    name : str
        The model's name.
    spec : MelImageSpec
        Specification of the mel images it was trained on.
    calibration : Calibration
        Temperature and threshold.
    labels : tuple of str
        Names of the logits in their order.
    corpora : tuple of str
        Training corpora.
    weights_sha256 : str
        Of the file of weights that was exported.
    git_revision : str
        Of the code that exported it.
    precision : str
        ``FP16`` or ``INT8``.
    bin_sha256 : str
        Of the IR's ``.bin``; empty where it is not checked.
    xml_sha256 : str
        Of the IR's ``.xml`` (:func:`xml_hash`); empty where it is not checked.
    licence : str
        Of the weights.
    metrics : mapping
        Figures by name, and what they were measured on.
    """

    name: str
    spec: MelImageSpec
    calibration: Calibration
    labels: tuple[str, ...] = EMOTIONS
    corpora: tuple[str, ...] = ()
    weights_sha256: str = ""
    git_revision: str = "unknown"
    precision: str = FP16
    bin_sha256: str = ""
    xml_sha256: str = ""
    licence: str = "CC BY-NC-SA 4.0"
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def to_rt_info(self) -> dict[str, str]:
        """Key -> text, to be put under :data:`RT_INFO_KEY`."""
        return {
            "model_type": "ser-edge",
            "name": self.name,
            "labels": " ".join(self.labels),
            "mel_image": self.spec.to_json(),
            "temperature": repr(float(self.calibration.temperature)),
            "threshold": repr(float(self.calibration.threshold)),
            "corpora": " ".join(self.corpora),
            "weights_sha256": self.weights_sha256,
            "git_revision": self.git_revision,
            "precision": self.precision,
            "bin_sha256": self.bin_sha256,
            "xml_sha256": self.xml_sha256,
            "licence": self.licence,
            "metrics": json.dumps(dict(self.metrics), sort_keys=True),
        }

    @classmethod
    def from_rt_info(cls, values: Mapping[str, str]) -> Manifest:
        """Read what :meth:`to_rt_info` wrote.

        Raises
        ------
        ValueError
            Something is missing, does not fit, or is of another version; the message names it.
        """
        missing = [key for key in _REQUIRED if not values.get(key)]
        if missing:
            raise ValueError(f"{RT_INFO_KEY} lacks {', '.join(missing)}")
        labels = tuple(values["labels"].split())
        if len(set(labels)) != len(labels) or len(labels) < 2:
            raise ValueError(f"labels are {values['labels']!r}, they should be different names")
        try:
            temperature, threshold = float(values["temperature"]), float(values["threshold"])
        except ValueError:
            raise ValueError(
                f"temperature {values['temperature']!r} and threshold {values['threshold']!r} "
                "should be numbers"
            ) from None
        try:
            metrics = json.loads(values.get("metrics") or "{}")
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"metrics are not JSON: {error}") from None
        return cls(
            name=values["name"],
            spec=MelImageSpec.from_json(values["mel_image"]),
            calibration=Calibration(temperature, threshold),
            labels=labels,
            corpora=tuple(values["corpora"].split()),
            weights_sha256=values["weights_sha256"],
            git_revision=values.get("git_revision", "unknown"),
            precision=values.get("precision", FP16),
            bin_sha256=values.get("bin_sha256", ""),
            xml_sha256=values.get("xml_sha256", ""),
            licence=values.get("licence", ""),
            metrics=metrics,
        )


def xml_hash(xml: bytes) -> str:
    """SHA-256 of an IR's ``.xml``: zeros in place of the hash itself, line ends as LF.

    A flipped bit in the ``.bin`` shows in its hash; one in the ``.xml`` can turn a stride or an
    offset into another, and OpenVINO computes something else without a warning.
    """
    xml = xml.replace(b"\r\n", b"\n")  # what Git may make of it on Windows
    found = _HASH.search(xml)
    if found:
        xml = xml[: found.start(1)] + _NO_HASH + xml[found.end(1) :]
    return hashlib.sha256(xml).hexdigest()


def with_xml_hash(xml: bytes) -> bytes:
    """The same ``.xml`` with its own SHA-256 in the manifest.

    Raises
    ------
    ValueError
        It has no manifest.
    """
    begin = f"<{RT_INFO_KEY}>".encode()
    if begin not in xml:
        raise ValueError(f"it has no {RT_INFO_KEY}")
    empty = b'<xml_sha256 value="' + _NO_HASH + b'"'
    if re.search(rb"<xml_sha256 [^>]*/>", xml):
        xml = re.sub(rb"<xml_sha256 [^>]*/>", lambda _: empty + b" />", xml)
    else:
        xml = xml.replace(begin, begin + b"\n\t\t\t" + empty + b" />", 1)
    return xml.replace(empty, empty.replace(_NO_HASH, xml_hash(xml).encode()))
