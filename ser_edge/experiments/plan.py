"""Experiments as a file lists them, and the runs that they are made of.

An entry of the file is one change of a recipe or of what is trained on; it is run once for each of
its seeds and folds. Folders are those of :mod:`ser_edge.evaluation.crossval`:
``OUT/<name>/fold-1`` of seed 1, ``OUT/<name>/seed-2/fold-1`` of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import yaml

from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.splits import ALL, RANDOM
from ser_edge.evaluation.crossval import FOLDS, begun, check_recipe, run_folder
from ser_edge.files import write_whole
from ser_edge.runs.inference import CONFIG, METRICS

DATA: Final = "data.yaml"
"""Beside an experiment's ``config.yaml``: what it is trained on and what it starts from."""

STAGES: Final = "abcdefgh"
SCORED: Final = "ravdess"
"""The corpus that folds 1 to 5 divide."""

_BASE: Final = "configs/compact.yaml"
_ALLOWED_FOLDS: Final = (*FOLDS, ALL, RANDOM)
_OF_A_REFIT: Final = ("refit", "name", "stage", "what", "folds")
_FIRST_SEED: Final = 1


@dataclass(frozen=True)
class Experiment:
    """One entry of the file.

    Parameters
    ----------
    name : str
        Also its folder's.
    stage : str
        A letter, ``a`` to ``h``.
    what : str
        One sentence: what is changed.
    recipe : Recipe
        Of all its runs, the seed apart.
    images : str
        Corpus that is trained on and, but for fold ``all``, scored.
    also : tuple of str
        Further corpora to train on.
    start : str or None
        Earlier experiment whose networks are started from (``from`` in the file).
    teachers : tuple of str
        Earlier experiments whose networks teach, those of the same fold, of all their seeds.
    average : tuple of str
        Earlier experiments whose weights are averaged with its own, those of the same fold.
    refit : str or None
        Earlier experiment of whom this is the refit: its recipe, start and teachers, and trained on
        its validation speakers, too.
    speech : tuple of str
        Further corpora that its gate hears as speech.
    folds : tuple of str
    seeds : tuple of int
    not_run : str or None
        Why it is not run; None of all others.
    """

    name: str
    stage: str
    what: str
    recipe: Recipe
    images: str = SCORED
    also: tuple[str, ...] = ()
    start: str | None = None
    teachers: tuple[str, ...] = ()
    average: tuple[str, ...] = ()
    refit: str | None = None
    speech: tuple[str, ...] = ()
    folds: tuple[str, ...] = FOLDS
    seeds: tuple[int, ...] = (_FIRST_SEED,)
    not_run: str | None = None

    @property
    def corpora(self) -> tuple[str, ...]:
        """All that it is trained on, apart from what its start has heard."""
        return (self.images, *self.also)


@dataclass(frozen=True)
class Job:
    """One run of an experiment: a seed and a fold.

    Parameters
    ----------
    experiment : Experiment
    seed : int
    fold : str
    out : Path
        Folder of all experiments.
    start : Path or None
        Folder of the run whose network this one starts from.
    teachers : tuple of Path
        Folders of the runs whose networks teach this one.
    average : tuple of Path
        Folders of the runs whose weights are averaged with its own.
    refit : Path or None
        Folder of the run of which this one is the refit.
    """

    experiment: Experiment
    seed: int
    fold: str
    out: Path
    start: Path | None = None
    teachers: tuple[Path, ...] = ()
    average: tuple[Path, ...] = ()
    refit: Path | None = None

    @property
    def needs(self) -> tuple[Path, ...]:
        """Runs that must be finished first."""
        single = (run for run in (self.start, self.refit) if run is not None)
        return (*single, *self.teachers, *self.average)

    @property
    def folder(self) -> Path:
        return _folder(self.out, self.experiment.name, self.seed, self.fold)

    @property
    def log(self) -> Path:
        """What the training prints, beside its folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def config(self) -> Path:
        """The experiment's recipe."""
        return self.out / self.experiment.name / CONFIG

    @property
    def done(self) -> bool:
        return (self.folder / METRICS).is_file()

    def __str__(self) -> str:
        return self.folder.relative_to(self.out).as_posix()


def read_experiments(path: Path, folds: Sequence[str] = FOLDS) -> tuple[Experiment, ...]:
    """Read a file of experiments.

    Parameters
    ----------
    path : Path
        YAML, a list; its entries are described in ``configs/experiments.yaml``.
    folds : sequence of str
        Of the entries that name none.

    Returns
    -------
    tuple of Experiment
        In the file's order.

    Raises
    ------
    ValueError
        The file cannot be read, or an entry is impossible; the message names file and entry.
    """
    try:
        entries = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: it should be a list of experiments")
    found: dict[str, Experiment] = {}
    for number, entry in enumerate(entries, 1):
        name = entry.get("name", f"entry {number}") if isinstance(entry, dict) else number
        try:
            if not isinstance(entry, dict):
                raise ValueError("it should be a mapping")
            experiment = (
                _refit(entry, found) if "refit" in entry else _experiment(entry, tuple(folds))
            )
            if experiment.name in found:
                raise ValueError("there are two of this name")
            _check_start(experiment, found)
            _check_same_fold("teachers", experiment.teachers, experiment, found)
            _check_same_fold("average", experiment.average, experiment, found)
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}") from None
        found[experiment.name] = experiment
    return tuple(found.values())


def select(experiments: Sequence[Experiment], names: Iterable[str]) -> tuple[Experiment, ...]:
    """The experiments of these names and those that they need, in the given order.

    Raises
    ------
    ValueError
        There is no experiment of such a name.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    chosen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in by_name:
            raise ValueError(f"there is no experiment {name!r}, but {', '.join(by_name)}")
        chosen.add(name)
        single = (by_name[name].start, by_name[name].refit)
        waiting += [needed for needed in single if needed is not None]
        waiting += [*by_name[name].teachers, *by_name[name].average]
    return tuple(experiment for experiment in experiments if experiment.name in chosen)


def jobs_of(experiments: Sequence[Experiment], out: Path) -> tuple[Job, ...]:
    """The runs of experiments in order; none of those that are not run."""
    by_name = {experiment.name: experiment for experiment in experiments}

    def start(experiment: Experiment, seed: int, fold: str) -> Path | None:
        if experiment.start is None:
            return None
        base = by_name[experiment.start]
        fold = fold if fold in base.folds else ALL
        return _folder(out, base.name, _seed_of(base, seed), fold)

    def teachers(experiment: Experiment, fold: str) -> tuple[Path, ...]:
        return tuple(
            _folder(out, name, seed, fold)
            for name in experiment.teachers
            for seed in by_name[name].seeds
        )

    return tuple(
        Job(
            experiment,
            seed,
            fold,
            out,
            start(experiment, seed, fold),
            teachers(experiment, fold),
            tuple(
                _folder(out, name, _seed_of(by_name[name], seed), fold)
                for name in experiment.average
            ),
            None if experiment.refit is None else _folder(out, experiment.refit, seed, fold),
        )
        for experiment in experiments
        if experiment.not_run is None
        for seed in experiment.seeds
        for fold in experiment.folds
    )


def _seed_of(earlier: Experiment, seed: int) -> int:
    """The same seed, where it has that."""
    return seed if seed in earlier.seeds else earlier.seeds[0]


def check_begun(jobs: Iterable[Job]) -> None:
    """A run, finished or broken off, stays with what it was begun with.

    Raises
    ------
    ValueError
        A run was begun with another recipe, other corpora or another start.
    """
    for job in jobs:
        check_recipe(job.folder, replace(job.experiment.recipe, seed=job.seed))
        if begun(job.folder):
            _check_data(job)


def write_configs(jobs: Iterable[Job]) -> None:
    """Write recipe and data of each experiment into its folder."""
    for first in {job.experiment.name: job for job in jobs}.values():
        write_whole(first.config, first.experiment.recipe.to_yaml())
        write_whole(first.config.with_name(DATA), _data_yaml(first.experiment))


def _folder(out: Path, name: str, seed: int, fold: str) -> Path:
    base = out / name
    return run_folder(base if seed == _FIRST_SEED else base / f"seed-{seed}", fold)


def _data_yaml(experiment: Experiment) -> str:
    values: dict[str, Any] = {
        "images": experiment.images,
        "also": list(experiment.also),
        "from": experiment.start,
    }
    if experiment.teachers:
        values["teachers"] = list(experiment.teachers)
    if experiment.average:
        values["average"] = list(experiment.average)
    if experiment.refit is not None:
        values["refit"] = experiment.refit
    if experiment.speech:
        values["speech"] = list(experiment.speech)
    return yaml.safe_dump(values, sort_keys=False)


def _check_data(job: Job) -> None:
    path = job.config.with_name(DATA)
    asked = _data_yaml(job.experiment)
    there = path.read_text() if path.is_file() else "nothing known"
    if there != asked:
        said = (" ".join(text.split("\n")).strip() for text in (there, asked))
        raise ValueError(
            f"{job.folder}: it was begun with {' (asked for: '.join(said)}); choose another name "
            "or remove it"
        )


def _experiment(entry: Mapping[str, Any], folds: tuple[str, ...]) -> Experiment:
    names = [field.name for field in fields(Experiment) if field.name != "refit"]
    known = ["from" if name == "start" else name for name in names] + ["base"]
    unknown = sorted(set(map(str, entry)) - set(known))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")
    name = _text(entry, "name")
    experiment = Experiment(
        name=name,
        stage=_text(entry, "stage"),
        what=" ".join(_text(entry, "what").split()),
        recipe=_recipe(name, Path(_text(entry, "base", _BASE)), entry.get("recipe", {})),
        images=_text(entry, "images", SCORED),
        also=tuple(_listed(entry, "also", str, ())),
        start=_text(entry, "from") if "from" in entry else None,
        teachers=tuple(_listed(entry, "teachers", str, ())),
        average=tuple(_listed(entry, "average", str, ())),
        speech=tuple(_listed(entry, "speech", str, ())),
        folds=tuple(map(str, _listed(entry, "folds", (int, str), folds))),
        seeds=tuple(_listed(entry, "seeds", int, (_FIRST_SEED,))),
        not_run=_text(entry, "not_run") if "not_run" in entry else None,
    )
    for key, good, allowed in (
        ("stage", len(experiment.stage) == 1 and experiment.stage in STAGES, "a to h"),
        ("images", experiment.images in CORPORA, ", ".join(CORPORA)),
        (
            "also",
            set(experiment.also) <= set(CORPORA) - {experiment.images},
            f"other corpora than images, of {', '.join(CORPORA)}",
        ),
        ("speech", set(experiment.speech) <= set(CORPORA), ", ".join(CORPORA)),
        (
            "folds",
            experiment.folds and set(experiment.folds) <= set(_ALLOWED_FOLDS),
            ", ".join(_ALLOWED_FOLDS),
        ),
        ("seeds", experiment.seeds and min(experiment.seeds) >= 0, "0 or more, one at least"),
    ):
        if not good:
            value = getattr(experiment, key)
            shown = list(value) if isinstance(value, tuple) else repr(value)
            raise ValueError(f"{key} is {shown}, allowed: {allowed}")
    _check_folds(experiment)
    return experiment


def _refit(entry: Mapping[str, Any], earlier: Mapping[str, Experiment]) -> Experiment:
    """All of an earlier experiment but for who is trained on."""
    unknown = sorted(set(map(str, entry)) - set(_OF_A_REFIT))
    if unknown:
        raise ValueError(f"a refit takes {', '.join(_OF_A_REFIT)}, not {', '.join(unknown)}")
    chosen = _text(entry, "refit")
    if chosen not in earlier:
        raise ValueError(f"refit is {chosen!r}, which is no experiment before it")
    folds = tuple(fold for fold in earlier[chosen].folds if fold in FOLDS)
    refit = replace(
        earlier[chosen],
        name=_text(entry, "name"),
        stage=_text(entry, "stage"),
        what=" ".join(_text(entry, "what").split()),
        refit=chosen,
        folds=tuple(map(str, _listed(entry, "folds", (int, str), folds))),
    )
    if earlier[chosen].not_run is not None or not refit.folds or not set(refit.folds) <= set(folds):
        raise ValueError(
            f"folds to refit are those that {chosen} has: {', '.join(folds) or 'none'}"
        )
    return refit


def _check_folds(experiment: Experiment) -> None:
    if experiment.images != SCORED and experiment.folds != (ALL,):
        raise ValueError(f"folds {', '.join(FOLDS)} divide {SCORED}: give folds: [{ALL}]")
    if RANDOM in experiment.folds and len(experiment.folds) > 1:
        raise ValueError(f"fold {RANDOM} is leaky and stands alone: give folds: [{RANDOM}]")


def _recipe(name: str, base: Path, changes: Any) -> Recipe:
    if not isinstance(changes, dict):
        raise ValueError("recipe should be a mapping of recipe fields")
    for key, instead in (("seed", "seeds"), ("name", "the experiment's name")):
        if key in changes:
            raise ValueError(f"{key} is no part of recipe here: {instead} is taken")
    values = asdict(Recipe.read(base))
    for key, value in changes.items():
        there = values.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            value = {**there, **value}
        values[key] = value
    return Recipe.from_dict({**values, "name": name, "seed": _FIRST_SEED})


def _check_start(experiment: Experiment, earlier: Mapping[str, Experiment]) -> None:
    """Every run must find one to start from, and none that has heard whom it is scored on."""
    if experiment.start is None or experiment.not_run is not None:
        return
    if experiment.start not in earlier:
        raise ValueError(f"from is {experiment.start!r}, which is no experiment before it")
    base = earlier[experiment.start]
    if base.not_run is not None:
        raise ValueError(f"from is {base.name}, which is not run")
    for fold in experiment.folds:
        if fold in base.folds:
            continue
        if ALL not in base.folds:
            raise ValueError(f"from is {base.name}, which has no fold {fold}")
        if SCORED in _heard(base, earlier):
            raise ValueError(
                f"from is {base.name}, whose fold {ALL} has heard the actors that fold {fold} tests"
            )


def _check_same_fold(
    key: str, names: Sequence[str], experiment: Experiment, earlier: Mapping[str, Experiment]
) -> None:
    """Networks of the same fold teach and are averaged: others have heard who is scored."""
    if experiment.not_run is not None:
        return
    for name in names:
        if name not in earlier:
            raise ValueError(f"{key} has {name!r}, which is no experiment before it")
        if earlier[name].not_run is not None:
            raise ValueError(f"{key} has {name}, which is not run")
        for fold in experiment.folds:
            if fold not in earlier[name].folds:
                raise ValueError(f"{key} has {name}, which has no fold {fold}")


def _heard(experiment: Experiment, earlier: Mapping[str, Experiment]) -> Iterator[str]:
    """Every corpus that is in a network, that of its starts included."""
    yield from experiment.corpora
    if experiment.start is not None:
        yield from _heard(earlier[experiment.start], earlier)


def _text(entry: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is {value!r}, it should be text")
    return value


def _listed(
    entry: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: tuple[Any, ...]
) -> list[Any]:
    values = entry.get(key, list(default))
    good = isinstance(values, list) and all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    )
    if not good:
        raise ValueError(f"{key} is {values!r}, it should be a list")
    if len(set(map(str, values))) < len(values):
        raise ValueError(f"{key} is {values!r}, it should hold nothing twice")
    return list(values)
