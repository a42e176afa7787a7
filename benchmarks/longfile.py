#!/usr/bin/env python3
"""How fast a long file is heard, and in how much memory: `edge-app predict`, a process each time.

The file is made of samples/ at changing levels with pauses between, as WAV in 16 bits. Start-up
and compiling are part of the time. Run it on a quiet machine. Prints a line a turn and writes
benchmarks/longfile.json; Linux and macOS.

examples:
  python benchmarks/longfile.py
  python benchmarks/longfile.py --hours 1 --rate 48000 --cores 4 --precision INT8
  python benchmarks/longfile.py --sound interview.wav

exit status: 0 fast and small enough, 1 not so, 2 wrong usage
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from ser_edge.audio import decode
from ser_edge.files import write_whole
from ser_edge.manifest import PRECISIONS
from ser_edge.provenance import provenance

ROOT: Final = Path(__file__).resolve().parent.parent
LEAST_SPEED: Final = 500.0  # times real time
MOST_MB: Final = 200.0
PAUSE_SECONDS: Final = (0.3, 3.0)
LEVELS_DB: Final = (-20.0, 0.0)
PROGRAM: Final = "import sys; from edge_app.cli import main; sys.exit(main())"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=3.0, help="of the file (default: 3)")
    parser.add_argument("--rate", type=int, default=16_000, help="of the file (default: 16000)")
    parser.add_argument("--sound", type=Path, help="a file of your own instead")
    parser.add_argument("--cores", type=int, default=2, help="to be used (default: 2)")
    parser.add_argument("--precision", choices=PRECISIONS, default="FP16")
    parser.add_argument("--turns", type=int, default=3, help="(default: 3)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    if not 0 < options.hours <= 24 or options.turns < 1 or not 8_000 <= options.rate <= 192_000:
        parser.error("hours are 0 to 24, turns 1 or more, the rate 8000 to 192000")
    if options.sound is not None and not options.sound.is_file():
        parser.error(f"{options.sound}: there is no such file")
    if hasattr(os, "sched_setaffinity"):
        here = sorted(os.sched_getaffinity(0))
        if not 1 <= options.cores <= len(here):
            parser.error(f"cores are {options.cores}, allowed: 1 to {len(here)}")
        os.sched_setaffinity(0, here[-options.cores :])  # those of what is started, too
    with tempfile.TemporaryDirectory() as folder:
        sound = options.sound
        if sound is None:
            sound = Path(folder, "long.wav")
            make_sound(sound, options.hours * 3600, options.rate)
        length = soundfile.info(sound).duration
        turns = [heard(sound, length, options.precision) for _ in range(options.turns)]
    speed = statistics.median(turn["speed"] for turn in turns)
    memory = max(turn["peak_mb"] for turn in turns)
    result = {
        "what": "edge-app predict of one file, a new process each turn",
        "sound_seconds": round(length, 3),
        "sound": "made from samples/" if options.sound is None else options.sound.name,
        "rate": soundfile.info(options.sound).samplerate if options.sound else options.rate,
        "cores": options.cores,
        "precision": options.precision,
        "median_speed": round(speed, 1),
        "peak_mb": memory,
        "limits": {"least_speed": LEAST_SPEED, "most_mb": MOST_MB},
        "passed": speed >= LEAST_SPEED and memory <= MOST_MB,
        "turns": turns,
        "provenance": provenance(),
    }
    print(f"median: {speed:.0f} times real time; at most {memory:.0f} MB")
    write_whole(options.out, json.dumps(result, indent=2) + "\n")
    return 0 if result["passed"] else 1


def make_sound(path: Path, seconds: float, rate: int) -> None:
    """Clips of samples/ one after the other, as loud as chance has it, with pauses."""
    random = np.random.default_rng(0)
    clips = [decode.load(clip, rate) for clip in sorted((ROOT / "samples").iterdir())]
    left = round(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while left > 0:
            clip = clips[random.integers(len(clips))]
            loud = 10.0 ** (random.uniform(*LEVELS_DB) / 20) / max(1e-9, np.abs(clip).max())
            pause = np.zeros(round(random.uniform(*PAUSE_SECONDS) * rate), dtype=np.float32)
            part = np.concatenate([clip * np.float32(loud), pause])[:left]
            file.write(part)
            left -= part.size


def heard(sound: Path, length: float, precision: str) -> dict[str, float]:
    """One turn: seconds, of the processor too, and the most memory that the process had."""
    words = [sys.executable, "-c", PROGRAM, "predict", str(sound), "--format", "jsonl"]
    begin = time.perf_counter()
    with subprocess.Popen(
        [*words, "--precision", precision],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"edge-app predict ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    turn = {
        "wall_s": round(wall, 2),
        "processor_s": round(used.ru_utime + used.ru_stime, 2),
        "speed": round(length / wall, 1),
        "peak_mb": round(used.ru_maxrss * unit / 1e6, 1),
    }
    print(
        f"{length:.0f} s of sound in {turn['wall_s']} s, {turn['processor_s']} s of processor "
        f"time: {turn['speed']:.0f} times real time, {turn['peak_mb']:.0f} MB",
        flush=True,
    )
    return turn


if __name__ == "__main__":
    sys.exit(main())
