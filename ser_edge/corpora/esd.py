"""ESD, Mandarin and English: Zhou et al. 2022, Speech Comm. 137, doi 10.1016/j.specom.2021.11.006.

Names are ``0011_000351``: speaker and number, in folders ``0011/Angry`` (and, as first published,
``train``, ``test``, ``evaluation`` below). Each of 20 speakers said 350 sentences in five emotions,
numbered through: 1 to 350 neutral, then angry, happy, sad, surprise. So the number says the emotion
in any layout, and a folder that says another one is a contradiction. Speakers' languages and sexes
are those of ReadMe.txt in the archive (https://github.com/HLTSingapore/Emotional-Speech-Data).
Research only, on a signed licence. The speakers were asked for no intensity.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

from ser_edge.corpora.base import Corpus, Utterance, emotion_of, scan_names
from ser_edge.emotions import CORPUS_EMOTIONS

SPEAKERS: Final = 20
MANDARIN_SPEAKERS: Final = 10
"""The first ten; the others speak English."""

WOMEN: Final = frozenset({1, 2, 3, 7, 9, 15, 16, 17, 18, 19})
SENTENCES: Final = 350

_CODES: Final = tuple(CORPUS_EMOTIONS["esd"])  # in the order of the numbers
_NAME: Final = re.compile(r"(\d{4})_(\d{6})", re.ASCII)
_PARTS: Final = ("train", "test", "evaluation")
_SPEAKER_FOLDER: Final = re.compile(r"00(0[1-9]|1\d|20)", re.ASCII)


def parse(path: Path) -> Utterance:
    """One file's name -> its utterance.

    Raises
    ------
    ValueError
        If the name breaks the scheme, with the field and its allowed values, or a folder says
        otherwise.
    """
    fields = _NAME.fullmatch(path.stem)
    if fields is None:
        raise ValueError("its name is not speaker and number like 0011_000351")
    speaker, number = fields.groups()
    if not 1 <= int(speaker) <= SPEAKERS:
        raise ValueError(f"its speaker is {speaker}, allowed: 0001 to {SPEAKERS:04d}")
    last = SENTENCES * len(_CODES)
    if not 1 <= int(number) <= last:
        raise ValueError(f"its number is {number}, allowed: 000001 to {last:06d}")
    block, sentence = divmod(int(number) - 1, SENTENCES)
    emotion = emotion_of("esd", _CODES[block])
    folders = [folder for folder in path.parts[:-1] if folder not in _PARTS]
    told = CORPUS_EMOTIONS["esd"].get(folders[-1].capitalize() if folders else "")
    if told is not None and told != emotion:
        raise ValueError(f"its number says {emotion}, its folder {folders[-1]}: which?")
    above = folders[-1 if told is None else -2 :][:1]
    if above and _SPEAKER_FOLDER.fullmatch(above[0]) and above[0] != speaker:
        raise ValueError(f"its name says speaker {speaker}, its folder {above[0]}: which?")
    return Utterance(
        path=path,
        corpus="esd",
        speaker=f"esd-{speaker}",
        sex="female" if int(speaker) in WOMEN else "male",
        emotion=emotion,
        intensity="unknown",
        statement=f"sentence {sentence + 1}",
        repetition=1,
        channel="speech",
        language="zh" if int(speaker) <= MANDARIN_SPEAKERS else "en",
    )


CORPUS: Final = Corpus(
    partial(scan_names, parse=parse),
    licence="research only, on a signed licence",
    citation="Zhou et al. 2022, Speech Communication 137, doi 10.1016/j.specom.2021.11.006",
    languages=("zh", "en"),
    ships_weights=False,
    clips=35_000,
    speakers=20,
)
