"""ESD, Mandarin and English: Zhou et al. 2022, Speech Comm. 137, doi 10.1016/j.specom.2021.11.006.

Names are ``0011_000351``: speaker and number, in folders ``0011/Angry`` (and, as first published,
``train``, ``test``, ``evaluation`` below). Each of 20 speakers said 350 sentences in five emotions,
numbered through: 1 to 350 neutral, then angry, happy, sad, surprise. So the number says the emotion
in any layout, and a folder that says another one is a contradiction. Speakers' languages and sexes
are those of ReadMe.txt in the archive (https://github.com/HLTSingapore/Emotional-Speech-Data): the
first ten speak Mandarin. Research only, on a signed licence; the speakers were asked for no
intensity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ser_edge.corpora.scheme import Fields, NamedCorpus, check, numbers

SENTENCES: Final = 350
"""Of every speaker in every emotion."""

_WOMEN: Final = {1, 2, 3, 7, 9, 15, 16, 17, 18, 19}
_SPEAKERS: Final = numbers(1, 20, 4)
_PARTS: Final = ("train", "test", "evaluation")
_EMOTIONS: Final = {
    "Neutral": "neutral",
    "Angry": "angry",
    "Happy": "happy",
    "Sad": "sad",
    "Surprise": "surprised",
}  # in the order of the numbers


def _resolve(path: Path, fields: Fields) -> Fields:
    """Take the emotion from the number and compare both fields with the folders."""
    speaker, number = fields["speaker"], fields["number"]
    check("speaker", speaker, _SPEAKERS)
    check("number", number, numbers(1, SENTENCES * len(_EMOTIONS), 6))
    block, sentence = divmod(int(number) - 1, SENTENCES)
    code = list(_EMOTIONS)[block]
    folders = [folder for folder in path.parts[:-1] if folder not in _PARTS]
    inside = folders[-1].capitalize() if folders else ""
    if inside in _EMOTIONS and inside != code:
        raise ValueError(f"its number says {_EMOTIONS[code]}, its folder {folders[-1]}: which?")
    above = folders[-2 if inside in _EMOTIONS else -1 :][:1]
    if above and above[0] in _SPEAKERS and above[0] != speaker:
        raise ValueError(f"its name says speaker {speaker}, its folder {above[0]}: which?")
    language = "zh" if int(speaker) <= 10 else "en"
    return {
        "speaker": speaker,
        "emotion": code,
        "sentence": str(sentence + 1),
        "language": language,
    }


CORPUS: Final = NamedCorpus(
    name="esd",
    licence="research only, on a signed licence",
    citation="Zhou et al. 2022, Speech Communication 137, doi 10.1016/j.specom.2021.11.006",
    languages=("zh", "en"),
    ships_weights=False,
    clips=35_000,
    sexes={s: "female" if int(s) in _WOMEN else "male" for s in _SPEAKERS},
    emotions=_EMOTIONS,
    pattern=r"(?P<speaker>\d{4})_(?P<number>\d{6})",
    form="speaker and number like 0011_000351",
    resolve=_resolve,
    statement="sentence {sentence}",
    language="{language}",
)
