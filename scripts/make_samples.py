#!/usr/bin/env python3
"""Make samples/ with espeak-ng: a machine voice in several manners, free of anybody's rights.

The voices are synthetic and only imitate a manner by pitch, speed, loudness and stress; the names
say how they were made, not what is true. They are there so that the app hears something anywhere.

example:
  scripts/make_samples.py samples
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import soundfile


@dataclass(frozen=True)
class Manner:
    """Options of espeak-ng: ``pitch`` 0-99, ``speed`` words a minute, ``loudness`` 0-200."""

    file: str
    voice: str
    pitch: int
    speed: int
    loudness: int
    text: str


MANNERS = (
    Manner("man-even.wav", "en-us", 45, 150, 90, "The kettle is on the small table."),
    Manner("woman-soft-slow.flac", "en-us+f4", 40, 105, 35, "It is late, and the house is still."),
    Manner("woman-bright-fast.ogg", "en-gb+f2", 80, 205, 120, "You came! Look, they are all here!"),
    Manner("man-low-slow.wav", "en-gb+m3", 10, 95, 50, "He did not write. Nobody called."),
    Manner("man-loud-hard.flac", "en-us+m7", 60, 190, 200, "No! Not again! Put it down, now!"),
    Manner("woman-high-hurried.mp3", "en-us+f3", 95, 240, 100, "Who is there? Please, who is it?"),
    Manner(
        "man-long.ogg",
        "en-gb",
        50,
        140,
        90,
        "This one goes on for more than five seconds, so that it is heard in several windows, "
        "one after the other, until it ends.",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the clips")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for manner in MANNERS:
        try:
            spoken = subprocess.run(
                [
                    "espeak-ng",
                    "--stdout",
                    *("-v", manner.voice),
                    *("-p", str(manner.pitch)),
                    *("-s", str(manner.speed)),
                    *("-a", str(manner.loudness)),
                    manner.text,
                ],
                capture_output=True,
                check=True,
            ).stdout
        except FileNotFoundError:
            print("espeak-ng is not installed (apt-get install espeak-ng)", file=sys.stderr)
            return 2
        samples, rate = soundfile.read(io.BytesIO(spoken), dtype="int16")
        # MP3 and Ogg as people send them, WAV and FLAC as they record.
        soundfile.write(out / manner.file, samples, rate)
        print(f"{out / manner.file}: {len(samples) / rate:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
