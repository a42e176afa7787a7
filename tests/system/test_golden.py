"""What the commands give is what they gave when the record was made, and twice the same."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

import golden

EXACT = ("images", "packages")
"""Parts of the record that are the same on every processor."""

APART = {("answers", "FP16"): 0.005, ("answers", "INT8"): 0.05, ("exported", "FP16"): 0.05,
         ("exported", "INT8"): 0.05}  # fmt: skip
"""How far scores may lie apart: processors with VNNI round INT8 otherwise than those without, and
what is exported was trained just before."""


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    record = json.loads(golden.RECORD.read_text())
    here = {name: version(name) for name in golden.DECIDING}
    if here != record["packages"]:
        other = [name for name in here if here[name] != record["packages"][name]]
        pytest.skip(f"the record was made with other releases of {', '.join(other)}")
    return record


@pytest.fixture(scope="module")
def found(kept, tmp_path_factory) -> dict[str, Any]:
    return golden.record(tmp_path_factory.mktemp("golden"))


def differences(old: Any, new: Any, tolerance: float, where: str = "") -> list[str]:
    """Places where two records lie apart by more than that; hashes of sums are not looked at."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [] if old.keys() == new.keys() else [f"{where}: {sorted(old.keys() ^ new.keys())}"]
        pairs = [(f"{where}.{key}", old[key], new[key]) for key in old if key in new]
    elif isinstance(old, list) and isinstance(new, list):
        keys = [] if len(old) == len(new) else [f"{where}: {len(old)} and {len(new)}"]
        pairs = [(f"{where}[{i}]", *both) for i, both in enumerate(zip(old, new, strict=False))]
    elif isinstance(old, int | float) and isinstance(new, int | float):
        return [] if abs(old - new) <= tolerance else [f"{where}: {old} and {new}"]
    else:
        same = old == new or where.endswith("sha256")
        return [] if same else [f"{where}: {old!r} and {new!r}"]
    return keys + [line for place, a, b in pairs for line in differences(a, b, tolerance, place)]


@pytest.mark.parametrize("part", EXACT)
def test_to_the_byte(kept, found, part):
    assert differences(kept[part], found[part], 0.0) == []


@pytest.mark.parametrize(("part", "precision"), APART)
def test_answers(kept, found, part, precision):
    tolerance = APART[part, precision]
    old, new = kept[part][precision], found[part][precision]
    for before, after in zip(old, new, strict=True):
        assert before.keys() == after.keys()
        assert before["file"].rsplit("/")[-1] == after["file"].rsplit("/")[-1]
        apart = differences(before["scores"], after["scores"], tolerance)
        assert apart == []
        assert len(before["segments"]) == len(after["segments"])
        first, second = sorted(before["scores"].values())[-1:-3:-1]
        if first - second > 2 * tolerance:
            assert max(after["scores"], key=after["scores"].get) == max(
                before["scores"], key=before["scores"].get
            )


@pytest.mark.parametrize("part", ["weights", "evaluation", "run"])
def test_figures(kept, found, part):
    assert differences(kept[part], found[part], 0.01) == []


def test_predictions(kept, found):
    rows = [[line.split(",") for line in record["predictions"]] for record in (kept, found)]
    for old, new in zip(*rows, strict=True):
        assert old[:7] == new[:7]
    numbers = [[[float(x) for x in row[9:]] for row in part[1:]] for part in rows]
    assert differences(*numbers, 0.01) == []
