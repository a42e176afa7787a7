"""Corpora -> folders of PNG mel images with an ``index.csv``.

Layout is torchvision's ImageFolder, ``OUT/<emotion>/<clip>_w<window>.png``, grey, row 0 the lowest
band. A mel image carries its row of the index, the specification and the sound's hash as PNG text:
a killed run resumes where it was, and the index can always be made again from the images.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from ser_edge.audio import decode
from ser_edge.audio.base import AudioError
from ser_edge.audio.windows import cut_windows, levels
from ser_edge.corpora import Problem, Utterance
from ser_edge.decision import speech_weights
from ser_edge.files import UNFINISHED, write_whole
from ser_edge.mel.image import mel_image
from ser_edge.mel.spec import MelImageSpec
from ser_edge.processes import process_pool

INDEX_NAME: Final = "index.csv"
SPEC_NAME: Final = "spec.json"
_TEXT_KEY: Final = "ser-edge"


@dataclass(frozen=True)
class MelImageRow:
    """One row of the index: the mel image of a window of an utterance.

    ``image`` is the path below the folder; ``start`` and ``duration`` (of the whole clip) are in
    seconds; ``speech`` is the window's share of speech, its weight in the clip's mean.
    """

    image: str
    utterance: str
    corpus: str
    speaker: str
    sex: str
    emotion: str
    intensity: str
    statement: str
    repetition: int
    channel: str
    window: int
    start: float
    duration: float
    speech: float


@dataclass(frozen=True)
class Report:
    """What a rendering did: mel images in all, clips made and found done, what failed."""

    images: int
    made: int
    found: int
    problems: tuple[Problem, ...]


def render(
    utterances: Sequence[Utterance],
    out: Path,
    spec: MelImageSpec,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Render utterances to PNG mel images and write the index.

    Parameters
    ----------
    utterances : sequence of Utterance
    out : Path
        Folder for the images; what is there already and fits is kept.
    spec : MelImageSpec
    workers : int, optional
        Processes; one a core if not given.
    progress : bool
        Show a bar.

    Returns
    -------
    Report
        Unreadable clips are in ``problems`` and missing from the index.
    """
    out.mkdir(parents=True, exist_ok=True)
    for left in out.rglob(f".*{UNFINISHED}"):
        left.unlink()
    index: list[MelImageRow] = []
    problems: list[Problem] = []
    made = 0
    with (
        process_pool(workers) as pool,
        tqdm(total=len(utterances), unit="clip", desc="rendering", disable=not progress) as bar,
    ):
        jobs: dict[Future[tuple[list[MelImageRow], bool]], Utterance] = {
            pool.submit(render_utterance, utterance, out, spec): utterance
            for utterance in utterances
        }
        for job in as_completed(jobs):
            bar.update()
            try:
                rows, new = job.result()
            except (AudioError, OSError) as error:
                cause = error.cause if isinstance(error, AudioError) else str(error)
                problems.append(Problem(jobs[job].path, cause))
                continue
            made += new
            index += rows
    index.sort(key=lambda row: row.image)
    write_whole(out / SPEC_NAME, spec.to_json() + "\n")
    write_whole(out / INDEX_NAME, _to_csv(index))
    return Report(
        len(index),
        made,
        len(utterances) - made - len(problems),
        tuple(sorted(problems, key=lambda problem: problem.path)),
    )


def render_utterance(
    utterance: Utterance, out: Path, spec: MelImageSpec
) -> tuple[list[MelImageRow], bool]:
    """Render one utterance unless its mel images are there.

    Returns
    -------
    list of MelImageRow, bool
        Its rows, and whether they were made anew.

    Raises
    ------
    AudioError, OSError
        The sound cannot be read, an image cannot be written.
    """
    try:
        sound = utterance.path.read_bytes()
    except OSError as error:
        raise AudioError(str(utterance.path), error.strerror or str(error)) from None
    identity = {"sha256": hashlib.sha256(sound).hexdigest(), "spec": spec.to_json()}
    folder = Path(utterance.emotion)
    found = _found(out, folder, utterance.name, identity)
    if found is not None:
        return found, False

    file = io.BytesIO(sound)
    file.name = str(utterance.path)
    waveform = decode.load(file, spec.sample_rate)
    cut = list(cut_windows([waveform], spec.window_samples, spec.hop_samples))
    weights = speech_weights([levels(window.waveform, spec.sample_rate) for window in cut])
    rows = []
    for number, window in enumerate(cut):
        row = MelImageRow(
            image=_image_name(folder, utterance.name, number),
            utterance=utterance.name,
            corpus=utterance.corpus,
            speaker=utterance.speaker,
            sex=utterance.sex,
            emotion=utterance.emotion,
            intensity=utterance.intensity,
            statement=utterance.statement,
            repetition=utterance.repetition,
            channel=utterance.channel,
            window=number,
            start=round(window.start / spec.sample_rate, 4),
            duration=round(waveform.size / spec.sample_rate, 4),
            speech=round(float(weights[number]), 4),
        )
        text = {**identity, "windows": len(cut), "row": asdict(row)}
        write_whole(out / row.image, png_bytes(mel_image(window.waveform, spec), text))
        rows.append(row)
    return rows, True


def read_index(folder: Path) -> tuple[MelImageSpec, list[MelImageRow]]:
    """Read what :func:`render` wrote.

    Raises
    ------
    ValueError
        The folder holds no rendering, or a broken one; the message names the file.
    """
    for name in (SPEC_NAME, INDEX_NAME):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: there is no {name}; scripts/render.py makes such folders")
    try:
        spec = MelImageSpec.from_json((folder / SPEC_NAME).read_text())
    except ValueError as error:
        raise ValueError(f"{folder / SPEC_NAME}: {error}") from None
    kinds = {field.name: str(field.type) for field in fields(MelImageRow)}
    convert = {"int": int, "float": float, "str": str}
    with open(folder / INDEX_NAME, newline="") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or ()) != list(kinds):
            raise ValueError(f"{folder / INDEX_NAME}: its columns should be {', '.join(kinds)}")
        try:
            rows = [
                MelImageRow(**{name: convert[kinds[name]](text) for name, text in row.items()})
                for row in reader
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / INDEX_NAME}: line {reader.line_num}: {error}") from None
    return spec, rows


def read_rows(folder: Path, spec: MelImageSpec) -> list[MelImageRow]:
    """The index of a rendering that must be of one specification.

    Raises
    ------
    ValueError
        As :func:`read_index`, or if it is of another specification.
    """
    rendered, rows = read_index(folder)
    if rendered != spec:
        raise ValueError(f"{folder}: rendered as {rendered}, the recipe wants {spec}")
    return rows


def png_bytes(image: npt.NDArray[np.uint8], text: dict[str, object] | None = None) -> bytes:
    """A mel image as a grey PNG, the same bytes every time."""
    notes = PngInfo()
    if text is not None:
        notes.add_text(_TEXT_KEY, json.dumps(text, sort_keys=True))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", pnginfo=notes, compress_level=6)
    return buffer.getvalue()


def _image_name(folder: Path, stem: str, number: int) -> str:
    return (folder / f"{stem}_w{number}.png").as_posix()


def _found(
    out: Path, folder: Path, stem: str, identity: dict[str, str]
) -> list[MelImageRow] | None:
    """The rows of an utterance whose mel images are all there and fit, else None."""
    rows: list[MelImageRow] = []
    windows = 1
    while len(rows) < windows:
        try:
            with Image.open(out / _image_name(folder, stem, len(rows))) as image:
                text = json.loads(str(image.info[_TEXT_KEY]))
            if any(text[key] != value for key, value in identity.items()):
                return None
            windows = text["windows"]
            rows.append(MelImageRow(**text["row"]))
        except (OSError, KeyError, TypeError, ValueError):
            return None  # missing, unreadable or not ours: made anew
    return rows


def _to_csv(rows: Iterable[MelImageRow]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [field.name for field in fields(MelImageRow)], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return buffer.getvalue()
