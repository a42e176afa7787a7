"""The samples are what their script makes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import soundfile

from conftest import ROOT, SAMPLES


@pytest.mark.component
def test_the_script_makes_the_samples_again(tmp_path):
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_samples.py", tmp_path],
        check=True,
        capture_output=True,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in SAMPLES]
    for sample in SAMPLES:
        # Releases of espeak-ng differ a little in timing.
        made = soundfile.info(tmp_path / sample.name)
        assert made.duration == pytest.approx(soundfile.info(sample).duration, rel=0.1)
        assert made.samplerate == soundfile.info(sample).samplerate


def test_without_espeak_it_says_what_to_install(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_samples.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "espeak-ng is not installed" in done.stderr
