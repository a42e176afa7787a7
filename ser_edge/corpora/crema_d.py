"""CREMA-D: Cao et al. 2014, IEEE Trans. Affective Computing, doi 10.1109/TAFFC.2014.2336244.

Names are four fields, ``1001_IEO_ANG_HI``: actor, sentence, emotion, level. The scheme, the actors'
sexes (VideoDemographics.csv) and the licence (Open Database License 1.0, contents Database Contents
License 1.0) are those of https://github.com/CheyneyComputerScience/CREMA-D, where the sound lies in
``AudioWAV/`` (7,442 clips of 91 actors) and again, compressed, in ``AudioMP3/``.

The emotion is the one that was acted, not the one that listeners voted for. Level HI counts as
strong intensity, LO and MD as normal; XX is unspecified in the corpus and unknown here.
"""

from __future__ import annotations

from typing import Final

from ser_edge.corpora.scheme import NamedCorpus, numbers

_WOMEN: Final = {
    *(1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025),
    *(1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060),
    *(1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091),
}  # 43 of the 91

_TWINS: Final = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)  # which of two labels of the same bytes is the right one cannot be known

CORPUS: Final = NamedCorpus(
    name="crema-d",
    licence="ODbL 1.0, contents DbCL 1.0",
    citation="Cao et al. 2014, IEEE Trans. Affective Computing 5(4), "
    "doi 10.1109/TAFFC.2014.2336244",
    languages=("en",),
    clips=7442,
    sexes={a: "female" if int(a) in _WOMEN else "male" for a in numbers(1001, 1091)},
    emotions={
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    faults={
        "1076_MTI_SAD_XX": "it is silent as published",
        **{
            name: f"it is published byte for byte as {twin} too, with another emotion"
            for pair in _TWINS
            for name, twin in (pair, pair[::-1])
        },
    },
    folder="AudioWAV",
    pattern=r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>[A-Z]{1,2})",
    form="actor, sentence, emotion and level like 1001_IEO_ANG_HI",
    misspelt={"1040_ITH_SAD_X": "1040_ITH_SAD_XX"},
    values={
        "sentence": {
            "IEO": "It's eleven o'clock",
            "TIE": "That is exactly what happened",
            "IOM": "I'm on my way to the meeting",
            "IWW": "I wonder what this is about",
            "TAI": "The airplane is almost full",
            "MTI": "Maybe tomorrow it will be cold",
            "IWL": "I would like a new alarm clock",
            "ITH": "I think I have a doctor's appointment",
            "DFA": "Don't forget a jacket",
            "ITS": "I think I've seen this before",
            "TSI": "The surface is slick",
            "WSI": "We'll stop in a couple of minutes",
        },
        "level": {"LO": "normal", "MD": "normal", "HI": "strong", "XX": "unknown"},
    },
    speaker="actor",
    statement="{sentence}",
    intensity="{level}",
)
