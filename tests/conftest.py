"""Shared fixtures. Tests need no network; those on real recordings skip where there are none."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from pathlib import Path

# Before anything that has threads is imported. Processes of pytest-xdist share the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# librosa's functions are compiled at their first call and kept. Two processes that do so at once in
# one folder have ended with a segmentation fault (a loop without an address in a ufunc of Numba's).
os.environ["NUMBA_CACHE_DIR"] = str(
    Path(__file__).resolve().parent.parent
    / ".pytest_cache"
    / "numba"
    / os.environ.get("PYTEST_XDIST_WORKER", "alone")
)
# OpenVINO's telemetry forks this process; tests that import it themselves need not know.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ser_edge.mel.image import MelImageSpec

ROOT = Path(__file__).resolve().parent.parent
HEAD_IRS = sorted((ROOT / "ir" / "heads").glob("*/*/*.xml"))
SAMPLES = sorted(path for path in (ROOT / "samples").iterdir() if path.is_file())

# A small picture: a network on it is made, exported and run within a second or two.
SMALL = MelImageSpec(n_fft=512, win_length=400, hop_length=400, n_mels=16)


TIERS = ("unit", "component", "system", "legacy")


def pytest_configure(config: pytest.Config) -> None:
    """``-m unit`` runs where torch is not installed, and where it is, as if it were not."""
    if config.option.markexpr == "unit":
        sys.modules["torch"] = None  # type: ignore[assignment]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m unit`` leave out files without such tests: they import torch."""
    if config.option.markexpr != "unit" or collection_path.suffix != ".py":
        return None
    if collection_path.parent.name == "unit" or collection_path.name == "conftest.py":
        return None
    return "@pytest.mark.unit" not in collection_path.read_text() or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is of the tier that it says, or of the folder that it lies in."""
    for item in items:
        own = [marker.name for marker in item.iter_markers() if marker.name in TIERS]
        if not own:
            own = [item.path.parent.name]
            item.add_marker(own[0])
        assert own in [[tier] for tier in TIERS], f"{item.nodeid} is of the tiers {own}"


def _forbidden(*_: object, **__: object) -> None:
    pytest.fail("a unit test starts no process and speaks to nobody")


@pytest.fixture(autouse=True)
def _unit_tests_are_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("unit"):
        monkeypatch.setattr(subprocess.Popen, "__init__", _forbidden)
        for name in ("connect", "bind", "listen"):
            monkeypatch.setattr(socket.socket, name, _forbidden)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """With SER_REQUIRE_ALL=1, as in CI, whatever would be skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("SER_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped though SER_REQUIRE_ALL=1: {report.longrepr}"
    return report


@dataclass(frozen=True)
class Done:
    """What a script left, as ``subprocess.CompletedProcess`` names it."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a script, or a verb of ``ser-edge``, in this process, where torch is imported already."""
    from ser_edge.cli.main import main

    def run(name: str, *words: object) -> Done:
        path = ROOT / "scripts" / name
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, words)])
        monkeypatch.syspath_prepend(path.parent)  # as Python does for a script
        capfd.readouterr()
        status: object = 0
        try:
            if path.suffix:
                runpy.run_path(str(path), run_name="__main__")
            else:
                status = main([name, *map(str, words)])
        except SystemExit as ended:
            status = ended.code
        out, err = capfd.readouterr()
        assert isinstance(status, int)
        return Done(status, out, err)

    return run


_FORKS: list[str] = []
os.register_at_fork(before=lambda: _FORKS.append("".join(traceback.format_stack(limit=12))))


@pytest.fixture(autouse=True)
def _no_fork() -> Iterator[None]:
    """This process has threads of OpenBLAS, OpenMP, TBB and more, and may not fork.

    OpenBLAS stops its threads at a fork; one that is made by another thread meanwhile leaves a
    product that never ends. What ``subprocess`` starts, and what is spawned, is no fork of this.
    """
    _FORKS.clear()
    yield
    assert not _FORKS, f"a fork:\n{_FORKS[0]}"


@pytest.fixture(autouse=True)
def _own_model_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Compiled models go to one folder of this run, not to the user's cache."""
    monkeypatch.setenv("SER_EDGE_CACHE", str(tmp_path_factory.getbasetemp() / "model-cache"))


@pytest.fixture(autouse=True)
def _processor_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precision ``auto`` is the same on every processor here; other processes need it said."""
    if "ser_edge.training.trainer" in sys.modules:
        from ser_edge.training import trainer

        monkeypatch.setattr(trainer, "_processor_has_bf16", lambda: False)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the edge app devices of a stand-in: ``faulty(GPU=Fault(how="nan"))``."""
    from edge_app.inference import devices
    from faultydevices import Core

    real = devices.new_core

    def install(**faults: Any) -> None:
        def core() -> tuple[Any, bool]:
            found, modern = real()
            return Core(found, faults), modern

        monkeypatch.setattr(devices, "new_core", core)

    return install


@pytest.fixture(scope="session")
def portaudio() -> None:
    """Skip where sounddevice is not installed, or where there is no PortAudio for it."""
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"no sounddevice (extra mic), or no PortAudio (libportaudio2): {error}")


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real corpora: $SER_DATA, else ``shared/data`` beside the checkout."""
    folder = Path(os.environ.get("SER_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} is not there (set SER_DATA)")
    return folder


@pytest.fixture(scope="session")
def ravdess(data: Path) -> Path:
    return data / "ravdess"


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small IR with random weights and a manifest: ``<folder>/small/FP16/small.xml``."""
    import torch

    from ser_edge.config.recipe import Recipe
    from ser_edge.decision import Calibration
    from ser_edge.export import convert
    from ser_edge.manifest import Manifest
    from ser_edge.nets import build_net

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("small-ir")
    net = build_net(Recipe(width=0.25, dropout=0.0, freq_mask=2, image=SMALL)).eval()
    convert.to_onnx(net, SMALL.shape, folder / "small.onnx")
    manifest = Manifest("small", SMALL, Calibration(), corpora=("none",), weights_sha256="0" * 64)
    model = convert.to_openvino(folder / "small.onnx")
    return convert.save_ir(model, folder / "small" / "FP16" / "small.xml", manifest)


def speechlike(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """A voice of a kind: harmonics with a moving pitch in syllables, ``float32 (n,)``."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 80 * random.random() + 30 * np.sin(2 * np.pi * (0.4 + random.random()) * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = np.maximum(0, np.sin(2 * np.pi * (3 + random.random()) * t)) ** 2
    noise = 1e-3 * random.standard_normal(t.size)
    return (0.1 * voice * syllables + noise).astype(np.float32)


@pytest.fixture
def make_ravdess(tmp_path: Path) -> Callable[..., Path]:
    """Make a small corpus named as RAVDESS names it: ``make_ravdess(actors, emotions, ...)``."""
    import soundfile

    def make(
        actors: tuple[int, ...] = (1, 2),
        emotions: tuple[int, ...] = (1, 5),
        seconds: float = 1.2,
        rate: int = 16_000,
        folder: str = "corpus",
    ) -> Path:
        root = tmp_path / folder
        for actor in actors:
            (root / f"Actor_{actor:02d}").mkdir(parents=True, exist_ok=True)
            for emotion in emotions:
                name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
                sound = speechlike(seconds, rate, seed=100 * actor + emotion)
                soundfile.write(root / f"Actor_{actor:02d}" / name, sound, rate)
        return root

    return make
