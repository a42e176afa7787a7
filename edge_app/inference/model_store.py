"""Models on disk: a name or an ``.xml`` -> a checked IR and its manifest.

Names are looked for in ``ir/`` of a checkout, in the installed package, and in ``./ir``.
"""

from __future__ import annotations

import hashlib
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ser_edge.commandline.arguments import did_you_mean
from ser_edge.manifest import PRECISIONS, RT_INFO_KEY, Manifest, xml_hash

DEFAULT_MODEL: Final = "compact"

MAX_XML: Final = 16 * 2**20
MAX_BIN: Final = 2**30
"""Bytes of an IR's files: a hundred times and more what the networks here have."""

_MAX_DEPTH: Final = 64  # an IR has ten levels; OpenVINO crashes on a million
_HASH_BLOCK: Final = 2**20


class ModelError(ValueError):
    """A model that cannot be used; the message names the file and what is wrong."""


@dataclass(frozen=True)
class ModelFiles:
    """An IR and what it says of itself."""

    xml: Path
    manifest: Manifest


def find_model(model: str, precision: str = "FP16") -> ModelFiles:
    """Find an IR by name or path, and check it before the runtime sees it.

    Parameters
    ----------
    model : str
        A name such as ``"compact"``, or the path of an ``.xml``.
    precision : {"FP16", "INT8"}
        Which IR a name means; a path is taken as it is.

    Returns
    -------
    ModelFiles

    Raises
    ------
    ModelError
        No such model, a damaged file, or no manifest that this program understands.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision is {precision!r}, allowed: {', '.join(PRECISIONS)}")
    if model.lower().endswith(".xml"):
        xml = Path(model)
        if not os.path.isfile(xml):  # Path.is_file raises for names that are too long
            raise ModelError(f"{model}: there is no such file")
    else:
        xml = _by_name(model, precision)
    return ModelFiles(xml, read_manifest(xml))


def model_names() -> list[str]:
    """Names that :func:`find_model` finds."""
    return sorted(
        {
            folder.name
            for root in _roots()
            if root.is_dir()
            for folder in root.iterdir()
            if any((folder / p / f"{folder.name}.xml").is_file() for p in PRECISIONS)
        }
    )


def read_manifest(xml: Path) -> Manifest:
    """The manifest inside an IR; both files are checked against the hashes given there.

    Raises
    ------
    ModelError
        The files are missing or damaged, or the manifest is missing, incomplete or of another
        version.
    """
    try:
        _check_size(xml, MAX_XML)
        content = xml.read_bytes()
        root = ElementTree.fromstring(content)
    except OSError as error:
        raise ModelError(f"{xml}: {error.strerror or error}") from None
    except ModelError:
        raise
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter: encodings
        raise ModelError(f"{xml}: it is damaged, not an OpenVINO IR: {error}") from None
    if root.tag != "net":
        raise ModelError(f"{xml}: it is not an OpenVINO IR: its root is <{root.tag}>, not <net>")
    _check_depth(root, xml)
    info = root.find(f"rt_info/{RT_INFO_KEY}")
    if info is None:
        raise ModelError(
            f"{xml}: it has no {RT_INFO_KEY} in its rt_info; scripts/export_ir.sh writes IRs that "
            "say what they are"
        )
    try:
        manifest = Manifest.from_rt_info({item.tag: item.get("value", "") for item in info})
    except ValueError as error:
        raise ModelError(f"{xml}: {error}") from None
    weights = xml.with_suffix(".bin")
    if not os.path.isfile(weights):
        raise ModelError(f"{weights}: there is no such file")
    try:
        _check_size(weights, MAX_BIN)
        digest = _sha256(weights)
    except OSError as error:
        raise ModelError(f"{weights}: {error.strerror or error}") from None
    if manifest.bin_sha256 and digest != manifest.bin_sha256:
        raise ModelError(f"{weights}: it is damaged or belongs to another {xml.name}")
    if manifest.xml_sha256 and xml_hash(content) != manifest.xml_sha256:
        raise ModelError(f"{xml}: it is damaged, or was changed after it was written")
    return manifest


def _check_size(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise ModelError(f"{path}: it has {size / 2**20:.0f} MB, allowed: {most / 2**20:.0f}")


def _check_depth(root: ElementTree.Element, xml: Path) -> None:
    level = [root]
    for _ in range(_MAX_DEPTH):
        level = [child for parent in level for child in parent]
        if not level:
            return
    raise ModelError(f"{xml}: it is no OpenVINO IR: its elements lie more than {_MAX_DEPTH} deep")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _roots() -> list[Path]:
    package = Path(__file__).resolve().parent.parent
    return [package.parent / "ir", package / "ir", Path("ir")]


def _by_name(name: str, precision: str) -> Path:
    for root in _roots():
        xml = root / name / precision / f"{name}.xml"
        if os.path.isfile(xml):
            return xml
    names = model_names()
    raise ModelError(
        f"there is no model {name!r} in {precision}; models here: {', '.join(names) or 'none'} "
        f"(or give an .xml){did_you_mean(name, names)}"
    )
