"""A file of experiments -> the runs that they consist of.

An experiment changes a recipe or the data that a network is trained on; it is run once for each of
its seeds and folds. Folders are those of :mod:`ser_edge.evaluation.crossval`:
``OUT/<name>/fold-1`` of seed 1, ``OUT/<name>/seed-2/fold-1`` of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.splits import ALL, RANDOM
from ser_edge.evaluation.crossval import FOLDS, check_recipe, is_started, run_folder
from ser_edge.files import write_whole
from ser_edge.runs.inference import CONFIG, METRICS

DATA: Final = "data.yaml"
"""Beside an experiment's ``config.yaml``: the data and the networks that its runs depend on."""

SCORED: Final = "ravdess"
"""The corpus that folds 1 to 5 divide."""

START, TEACHERS, AVERAGE, REFIT = "from", "teachers", "average", "refit"
NETWORKS: Final = (START, TEACHERS, AVERAGE, REFIT)
"""Keys of an entry that name earlier experiments."""

_STAGES: Final = "abcdefgh"
_BASE: Final = "configs/compact.yaml"
_ALLOWED_FOLDS: Final = (*FOLDS, ALL, RANDOM)
_FIRST_SEED: Final = 1
_TEXTS: Final = ("name", "stage", "what", "base", "images", START, "not_run")
_LISTS: Final = ("also", TEACHERS, AVERAGE, "speech", "folds", "seeds")
_KEYS_OF_A_REFIT: Final = (REFIT, "name", "stage", "what", "folds")


@dataclass(frozen=True)
class Experiment:
    """One entry of the file; ``configs/experiments.yaml`` describes its keys.

    ``networks`` has the earlier experiments that an entry names, by key of :data:`NETWORKS`; the
    recipe is that of all its runs, only their seeds differ.
    """

    name: str
    stage: str
    what: str
    recipe: Recipe
    images: str = SCORED
    also: tuple[str, ...] = ()
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    speech: tuple[str, ...] = ()
    folds: tuple[str, ...] = FOLDS
    seeds: tuple[int, ...] = (_FIRST_SEED,)
    not_run: str | None = None

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that its networks are trained on, those of ``from`` not included."""
        return (self.images, *self.also)

    @property
    def data_yaml(self) -> str:
        """The text of its ``data.yaml``."""
        values: dict[str, Any] = {"images": self.images, "also": list(self.also), START: None}
        for key, names in self.networks.items():
            values[key] = list(names) if key in _LISTS else names[0]
        if self.speech:
            values["speech"] = list(self.speech)
        return yaml.safe_dump(values, sort_keys=False)


@dataclass(frozen=True)
class PlannedRun:
    """One run of an experiment: a seed and a fold, below ``out``, the folder of all experiments.

    ``networks`` has the folders of the runs that must be finished before it, by key of
    :data:`NETWORKS`.
    """

    experiment: Experiment
    seed: int
    fold: str
    out: Path
    networks: Mapping[str, tuple[Path, ...]]

    @property
    def folder(self) -> Path:
        return _folder(self.out, self.experiment.name, self.seed, self.fold)

    @property
    def log(self) -> Path:
        """Output of the training, beside the run's folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def config(self) -> Path:
        """The experiment's recipe."""
        return self.out / self.experiment.name / CONFIG

    @property
    def finished(self) -> bool:
        return (self.folder / METRICS).is_file()

    def __str__(self) -> str:
        return self.folder.relative_to(self.out).as_posix()


def read_experiments(path: Path, folds: Sequence[str] = FOLDS) -> tuple[Experiment, ...]:
    """Read a file of experiments, in its order.

    Parameters
    ----------
    path : Path
        YAML, a list; ``configs/experiments.yaml`` describes its entries.
    folds : sequence of str
        Of the entries that name none.

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
            experiment = (_refit if REFIT in entry else _experiment)(entry, tuple(folds), found)
            if experiment.name in found:
                raise ValueError("there are two of this name")
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}") from None
        found[experiment.name] = experiment
    return tuple(found.values())


def select(experiments: Sequence[Experiment], names: Iterable[str]) -> tuple[Experiment, ...]:
    """The experiments of these names and those that they depend on, in the given order.

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
        waiting += [needed for group in by_name[name].networks.values() for needed in group]
    return tuple(experiment for experiment in experiments if experiment.name in chosen)


def runs_of(experiments: Sequence[Experiment], out: Path) -> tuple[PlannedRun, ...]:
    """The runs of experiments, what a run depends on before it; none of those that are not run."""
    by_name = {experiment.name: experiment for experiment in experiments}

    def folders(key: str, name: str, seed: int, fold: str) -> Iterator[Path]:
        earlier = by_name[name]
        seeds = (seed,) if seed in earlier.seeds else earlier.seeds[:1]
        fold = fold if fold in earlier.folds else ALL
        for each in earlier.seeds if key == TEACHERS else seeds:
            yield _folder(out, name, each, fold)

    return tuple(
        PlannedRun(
            experiment,
            seed,
            fold,
            out,
            {
                key: tuple(path for name in names for path in folders(key, name, seed, fold))
                for key, names in experiment.networks.items()
            },
        )
        for experiment in experiments
        if experiment.not_run is None
        for seed in experiment.seeds
        for fold in experiment.folds
    )


def check_started(runs: Iterable[PlannedRun]) -> None:
    """Check that a run, finished or not, still has the recipe and data that it was started with.

    Raises
    ------
    ValueError
        A run was started with another recipe, other corpora or other networks.
    """
    for run in runs:
        check_recipe(run.folder, replace(run.experiment.recipe, seed=run.seed))
        path, asked = run.config.with_name(DATA), run.experiment.data_yaml
        there = path.read_text() if path.is_file() else "nothing known"
        if is_started(run.folder) and there != asked:
            texts = (" ".join(text.split("\n")).strip() for text in (there, asked))
            raise ValueError(
                f"{run.folder}: it was started with {' (asked for: '.join(texts)}); choose another "
                "name or remove it"
            )


def write_configs(runs: Iterable[PlannedRun]) -> None:
    """Write recipe and data of each experiment into its folder."""
    for first in {run.experiment.name: run for run in runs}.values():
        write_whole(first.config, first.experiment.recipe.to_yaml())
        write_whole(first.config.with_name(DATA), first.experiment.data_yaml)


def _folder(out: Path, name: str, seed: int, fold: str) -> Path:
    base = out / name
    return run_folder(base if seed == _FIRST_SEED else base / f"seed-{seed}", fold)


def _experiment(
    entry: Mapping[str, Any], folds: tuple[str, ...], earlier: Mapping[str, Experiment]
) -> Experiment:
    known = (*_TEXTS, *_LISTS, "recipe")
    unknown = sorted(set(map(str, entry)) - set(known))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")
    values: dict[str, Any] = {"folds": folds}
    values |= {key: _text(entry, key) for key in ("name", "stage", "what", *entry) if key in _TEXTS}
    values |= {key: _list(entry, key) for key in entry if key in _LISTS}
    base = Path(values.pop("base", _BASE))
    networks = {START: (values.pop(START),)} if START in entry else {}
    networks |= {key: values.pop(key) for key in (TEACHERS, AVERAGE) if key in entry}
    recipe = _recipe(values["name"], base, entry.get("recipe", {}))
    experiment = Experiment(**values, recipe=recipe, networks=networks)
    _check_values(experiment)
    if experiment.not_run is None:
        _check_networks(experiment, earlier)
    return experiment


def _refit(
    entry: Mapping[str, Any], _: tuple[str, ...], earlier: Mapping[str, Experiment]
) -> Experiment:
    """An earlier experiment once more, trained on its validation speakers as well."""
    unknown = sorted(set(map(str, entry)) - set(_KEYS_OF_A_REFIT))
    if unknown:
        raise ValueError(f"a refit takes {', '.join(_KEYS_OF_A_REFIT)}, not {', '.join(unknown)}")
    base = earlier.get(_text(entry, REFIT))
    if base is None:
        raise ValueError(f"refit is {entry[REFIT]!r}, which is no experiment before it")
    allowed = tuple(fold for fold in base.folds if fold in FOLDS)
    folds = _list(entry, "folds") if "folds" in entry else allowed
    if base.not_run is not None or not folds or not set(folds) <= set(allowed):
        raise ValueError(
            f"folds to refit are those that {base.name} has: {', '.join(allowed) or 'none'}"
        )
    name, stage, what = (_text(entry, key) for key in ("name", "stage", "what"))
    networks = {**base.networks, REFIT: (base.name,)}
    return replace(base, name=name, stage=stage, what=what, folds=folds, networks=networks)


def _check_values(experiment: Experiment) -> None:
    corpora, every = set(CORPORA), ", ".join(CORPORA)
    for key, good, allowed in (
        ("stage", experiment.stage in [*_STAGES], "a to h"),
        ("images", experiment.images in corpora, every),
        (
            "also",
            set(experiment.also) <= corpora - {experiment.images},
            f"other corpora than images, of {every}",
        ),
        ("speech", set(experiment.speech) <= corpora, every),
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
    if experiment.images != SCORED and experiment.folds != (ALL,):
        raise ValueError(f"folds {', '.join(FOLDS)} divide {SCORED}: give folds: [{ALL}]")
    if RANDOM in experiment.folds and len(experiment.folds) > 1:
        raise ValueError(f"fold {RANDOM} is leaky and stands alone: give folds: [{RANDOM}]")


def _check_networks(experiment: Experiment, earlier: Mapping[str, Experiment]) -> None:
    """Networks must exist for every fold, none of them trained on the actors it is tested on."""
    for key, name in ((key, name) for key, names in experiment.networks.items() for name in names):
        if name not in earlier:
            raise ValueError(f"{key} names {name!r}, which is no experiment before it")
        if earlier[name].not_run is not None:
            raise ValueError(f"{key} names {name}, which is not run")
        for fold in experiment.folds:
            if fold in earlier[name].folds:
                continue
            if key != START or ALL not in earlier[name].folds:
                raise ValueError(f"{key} names {name}, which has no fold {fold}")
            if SCORED in _trained_on(earlier[name], earlier):
                raise ValueError(
                    f"{key} names {name}, whose fold {ALL} is trained on the actors that fold "
                    f"{fold} tests"
                )


def _trained_on(experiment: Experiment, earlier: Mapping[str, Experiment]) -> Iterator[str]:
    """Every corpus that a network was trained on, before its start included."""
    yield from experiment.corpora
    for name in experiment.networks.get(START, ()):
        yield from _trained_on(earlier[name], earlier)


def _recipe(name: str, base: Path, changes: Any) -> Recipe:
    if not isinstance(changes, dict):
        raise ValueError("recipe should be a mapping of recipe fields")
    for key, instead in (("seed", "seeds"), ("name", "the experiment's name")):
        if key in changes:
            raise ValueError(f"{key} is no part of recipe here: {instead} is taken")
    values = asdict(Recipe.read(base))
    for key, value in changes.items():
        both = isinstance(values.get(key), dict) and isinstance(value, dict)
        values[key] = {**values[key], **value} if both else value
    return Recipe.from_dict({**values, "name": name, "seed": _FIRST_SEED})


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is {value!r}, it should be text")
    return " ".join(value.split()) if key == "what" else value


def _list(entry: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    values = entry[key]
    kinds = {"seeds": (int,), "folds": (int, str)}.get(key, (str,))
    if not isinstance(values, list) or any(type(value) not in kinds for value in values):
        raise ValueError(f"{key} is {values!r}, it should be a list")
    if len(set(map(str, values))) < len(values):
        raise ValueError(f"{key} is {values!r}, it should hold nothing twice")
    return tuple(map(str, values) if key == "folds" else values)
