"""Actor-disjoint folds: who is heard in training, who in validation, who in the test.

Test actors are EmoBox's (Ma et al., Interspeech 2024, ``data/ravdess/fold_1..6``); the validation
actors, a man and a woman a fold, are this project's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

EMOBOX_TEST_ACTORS: Final[Mapping[int, tuple[int, ...]]] = MappingProxyType(
    {
        1: (1, 11, 20, 21),
        2: (4, 10, 12, 14),
        3: (8, 9, 19, 23),
        4: (3, 5, 7, 24),
        5: (2, 15, 16, 18),
        6: (6, 13, 17, 22),
    }
)

VALIDATION_ACTORS: Final[Mapping[int, tuple[int, ...]]] = MappingProxyType(
    {1: (9, 10), 2: (3, 2), 3: (5, 12), 4: (1, 16), 5: (7, 20)}
)

FINAL_TEST_FOLD: Final = 6
"""Its actors are kept apart: they are never trained on, whatever is asked for."""


@dataclass(frozen=True)
class Split:
    """Speakers by what they are used for; no speaker is in two of the three."""

    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]


def split_speakers(speakers: Iterable[str], fold: int | None) -> Split:
    """Divide the speakers at hand.

    Parameters
    ----------
    speakers : iterable of str
        As in :class:`ser_edge.corpora.Utterance`. Speakers of other corpora than RAVDESS are
        training speakers.
    fold : int or None
        1 to 5; None trains on everybody but fold 6's actors, for a model that ships.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If there is no such fold, or nobody is left to train, validate or test on.
    """
    if fold is not None and fold not in VALIDATION_ACTORS:
        allowed = ", ".join(map(str, VALIDATION_ACTORS))
        raise ValueError(f"fold is {fold}, allowed: {allowed} (fold 6's actors are kept apart)")
    test_actors = EMOBOX_TEST_ACTORS[fold] if fold is not None else ()
    validation_actors = VALIDATION_ACTORS[fold] if fold is not None else ()
    present = frozenset(speakers)
    test = present & {_speaker(actor) for actor in test_actors}
    validation = present & {_speaker(actor) for actor in validation_actors}
    apart = {_speaker(actor) for actor in EMOBOX_TEST_ACTORS[FINAL_TEST_FOLD]}
    train = present - test - validation - apart
    for role, chosen, wanted in (
        ("train", train, True),
        ("validate", validation, fold is not None),
        ("test", test, fold is not None),
    ):
        if wanted and not chosen:
            raise ValueError(f"fold {fold}: no speaker to {role} on among {len(present)} speakers")
    return Split(train, validation, test)


def _speaker(actor: int) -> str:
    return f"ravdess-{actor:02d}"
