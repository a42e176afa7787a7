"""Networks that differ only in their heads -> a Markdown table that is kept in a document.

Figures are those of finished runs, the edge app's those that ``scripts/evaluate.py --edge`` wrote
beside them; sizes and times are those that ``benchmarks/heads.py`` measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ser_edge.data.splits import RANDOM
from ser_edge.experiments.table import Row
from ser_edge.manifest import FP16, INT8
from ser_edge.markdown import table
from ser_edge.runs.inference import METRICS

TABLE: Final = "heads"

_COLUMNS: Final = (
    "what", "net", "UAR, held-out actors", "edge app, FP16", "edge app, INT8",
    "accuracy, random split: LEAKY", "parameters", "multiply-adds", "ms FP16", "ms INT8",
)  # fmt: skip
_NOT_MEASURED: Final = "not measured yet"
_NOT_EVALUATED: Final = "not evaluated yet"


@dataclass(frozen=True)
class Measured:
    """What a network costs, whatever its weights.

    Parameters
    ----------
    parameters : int
    multiply_adds : int
        For one mel image.
    ms : dict
        Precision -> median milliseconds for one mel image; None where nothing was timed.
    """

    parameters: int
    multiply_adds: int
    ms: Mapping[str, float | None]


def read_measured(path: Path) -> dict[str, Measured]:
    """A file of ``benchmarks/heads.py`` -> net -> what it costs; empty if there is no file.

    Raises
    ------
    ValueError
        The file is not as that writes it.
    """
    try:
        found = json.loads(path.read_text())["nets"]
        return {
            net: Measured(int(one["parameters"]), int(one["multiply_adds"]), dict(one["ms"]))
            for net, one in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not as benchmarks/heads.py writes it: {error}") from None


def markdown(rows: Iterable[Row], measured: Mapping[str, Measured]) -> str:
    """The table, a row a network; its leaky runs are the experiments with the fold ``random``."""
    honest: dict[str, Row] = {}
    leaky: dict[str, Row] = {}
    for row in rows:
        kind = leaky if row.experiment.folds == (RANDOM,) else honest
        kind.setdefault(row.experiment.recipe.net, row)
    lines = []
    for net, row in honest.items():
        cells = (_uar(row), *_edge(row), _accuracy(leaky.get(net)), *_costs(measured.get(net)))
        lines.append((row.experiment.what, f"`{net}`", *cells))
    return table(_COLUMNS, lines, "llllllr")


def _uar(row: Row) -> str:
    if len(row.runs) < row.wanted:
        return _missing(row)
    by_fold = ", ".join(f"fold {run.fold}: {run.figures['test']['uar']:.3f}" for run in row.runs)
    mean = row.figure("test", "uar")
    return f"{mean.mean:.3f} ({by_fold})" if mean is not None else by_fold


def _edge(row: Row) -> tuple[str, ...]:
    """UAR of the exported networks on the same clips, from their sound files."""
    if not row.runs or len(row.runs) < row.wanted:
        return (_NOT_EVALUATED,) * 2
    path = row.runs[0].folder.parent / METRICS
    try:
        edge = json.loads(path.read_text())["edge"]
        if set(edge["folds"]) != {run.fold for run in row.runs}:
            return (_NOT_EVALUATED,) * 2
        return tuple(f"{edge[precision]['uar_mean']:.3f}" for precision in (FP16, INT8))
    except (FileNotFoundError, KeyError):
        return (_NOT_EVALUATED,) * 2
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not as scripts/evaluate.py writes it: {error}") from None


def _accuracy(row: Row | None) -> str:
    if row is None or len(row.runs) < row.wanted:
        return _missing(row)
    found = row.figure("test", "accuracy")
    return _missing(None) if found is None else str(found)


def _missing(row: Row | None) -> str:
    return f"{len(row.runs)} of {row.wanted} runs done" if row and row.runs else "not run yet"


def _costs(found: Measured | None) -> tuple[str, ...]:
    if found is None:
        return (_NOT_MEASURED,) * 4
    times = (found.ms.get(precision) for precision in (FP16, INT8))
    return (
        f"{found.parameters:,}",
        f"{found.multiply_adds / 1e6:.1f} M",
        *(_NOT_MEASURED if ms is None else f"{ms:.2f}" for ms in times),
    )
