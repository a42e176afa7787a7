#!/usr/bin/env python3
"""A day of sound through the live path, faster than real time: does anything grow, drift, get lost?

Speech from samples/, silence and noises, drawn anew each minute from the seed and the minute's
number, go through edge_app.live.session as from a microphone, in blocks of 100 ms. Watched:
resident memory after a warm-up, that every hop had its window at its sample, that timestamps and
samples agree, and that segments leave no gap. Progress is kept beside the JSON: a soak that was
broken off goes on, in a new process whose memory is measured anew.

example:
  benchmarks/soak.py                      # 24 hours
  benchmarks/soak.py --hours 0.2 --out /tmp/soak.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edge_app import Classifier
from edge_app.live.session import Live
from edge_app.results import SILENCE
from ser_edge.audio import decode
from ser_edge.files import write_whole
from ser_edge.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
MINUTE = 60
WARM_UP_MINUTES = 5
LIMIT_MB = 10.0
BEGUN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0, help="of sound (default: 24)")
    parser.add_argument("--rate", type=int, default=48_000, help="of the sound (default: 48000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    minutes = round(60 * options.hours)
    if minutes <= WARM_UP_MINUTES:
        parser.error(f"--hours is {options.hours:g}, it should be over {WARM_UP_MINUTES} minutes")
    journal = options.out.with_suffix(".unfinished.json")
    asked = {"rate": options.rate, "seed": options.seed, "device": options.device}
    state = read_journal(journal, asked)
    state = soak(state, minutes, options, journal)
    result = report(state, minutes, options)
    write_whole(options.out, json.dumps(result, indent=2) + "\n")
    journal.unlink(missing_ok=True)
    print(json.dumps(result, indent=2))
    return 0 if result["passed"] else 1


def read_journal(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    fresh = {
        "asked": asked, "minutes": 0, "windows": 0, "missed_windows": 0, "segments": 0,
        "speech_segments": 0, "gaps": 0, "largest_drift_ms": 0.0, "seconds_spent": 0.0,
        "memory_growth_mb": [],
    }  # fmt: skip
    if not path.exists():
        return fresh
    kept: dict[str, Any] = json.loads(path.read_text())
    if kept["asked"] != asked:
        sys.exit(f"soak: {path} is of another soak ({kept['asked']}): delete it or name --out")
    print(f"goes on after {kept['minutes']} minutes", file=sys.stderr)
    return kept


def soak(
    state: dict[str, Any], minutes: int, options: argparse.Namespace, journal: Path
) -> dict[str, Any]:
    """Feed what is left, a minute at a time."""
    rate = options.rate
    voices = [
        decode.load(path, rate) for path in sorted((ROOT / "samples").iterdir()) if path.is_file()
    ]
    fed = 0

    def clock() -> datetime:
        return BEGUN + timedelta(seconds=fed / rate)

    live = Live(Classifier(device=options.device), rate, "soak", clock=clock)
    hop, block = live.settings.hop, rate // 10
    first, warm, largest, at_end = state["minutes"], None, 0.0, 0.0
    expected, last_end = 1.0, 0.0  # the first window ends after a second
    begun = time.perf_counter()
    spent = state["seconds_spent"]

    def look(events: list[Any]) -> None:
        nonlocal expected, last_end
        for event in events:
            told = (datetime.fromisoformat(event.time) - BEGUN).total_seconds()
            state["largest_drift_ms"] = max(state["largest_drift_ms"], 1e3 * abs(told - event.end))
            if event.kind == "window":
                state["windows"] += 1
                state["missed_windows"] += abs(event.end - expected) > 1e-6
                expected = event.end + hop
            elif event.kind == "segment":
                state["segments"] += 1
                state["speech_segments"] += event.emotion != SILENCE
                state["gaps"] += abs(event.start - last_end) > 1e-6
                last_end = event.end

    for minute in range(first, minutes):
        sound = a_minute(voices, rate, options.seed, minute)
        for start in range(0, sound.size, block):
            part = sound[start : start + block]
            fed += part.size
            look(live.feed(part))
        state["minutes"] = minute + 1
        state["seconds_spent"] = spent + time.perf_counter() - begun
        if minute + 1 - first >= WARM_UP_MINUTES:
            now = memory_mb()
            warm = now if warm is None else warm
            largest, at_end = max(largest, now - warm), now - warm
        if (minute + 1) % 60 == 0:
            write_whole(journal, json.dumps(state))
        if sys.stderr.isatty():
            print(f"\r{minute + 1} of {minutes} minutes", end="", file=sys.stderr, flush=True)
    look(live.finish())
    held = fed / rate
    state["missed_windows"] += round((held - 1.0) / hop) + 1 - round((expected - 1.0) / hop)
    state["gaps"] += abs(last_end - held) > 1e-6
    state["memory_growth_mb"].append(
        {"minutes": minutes - first, "at_end": round(at_end, 2), "largest": round(largest, 2)}
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return state


def report(state: dict[str, Any], minutes: int, options: argparse.Namespace) -> dict[str, Any]:
    growth = max((one["largest"] for one in state["memory_growth_mb"]), default=0.0)
    checks = {
        f"memory grew by at most {LIMIT_MB:g} MB": growth <= LIMIT_MB,
        "no window missed": state["missed_windows"] == 0,
        "segments without a gap": state["gaps"] == 0,
        "timestamps within 1 ms of the samples": state["largest_drift_ms"] <= 1.0,
    }
    return {
        "what": f"{minutes / 60:g} hours of sound through the live path",
        **{key: value for key, value in state.items() if key != "asked"},
        **state["asked"],
        "times_real_time": round(60 * minutes / max(state["seconds_spent"], 1e-9), 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "checks": checks,
        "passed": all(checks.values()),
        "provenance": provenance(),
    }


def a_minute(voices: list[np.ndarray], rate: int, seed: int, minute: int) -> np.ndarray:
    """A minute of one room: quiet, a steady noise or digital silence, with some voices in it."""
    random = np.random.default_rng([seed, minute])
    size = MINUTE * rate
    kind = ("digital silence", "quiet", "noise", "fan")[int(random.integers(4))]
    level = {"digital silence": 0.0, "quiet": 1e-4, "noise": 1e-2, "fan": 3e-3}[kind]
    sound = (level * random.standard_normal(size)).astype(np.float32)
    if kind == "fan":
        time_axis = np.arange(size) / rate
        sound += (level * np.sin(2 * np.pi * 118.0 * time_axis)).astype(np.float32)
    at = int(random.integers(0, 10 * rate))
    while random.random() < 0.75:
        voice = voices[int(random.integers(len(voices)))]
        if at + voice.size > size:
            break
        sound[at : at + voice.size] += np.float32(10.0 ** random.uniform(-1.0, 0.0)) * voice
        at += voice.size + int(random.uniform(0.2, 12.0) * rate)
    return np.round(32_767 * np.clip(sound, -1.0, 1.0)).astype(np.int16)


def memory_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
