#!/usr/bin/env python3
"""Draw what the edge app sees and says: the mel images of clips beside their scores, as one PNG.

example:
  scripts/draw_answer.py docs/assets/answers.png samples/man-even.wav samples/woman-soft-slow.flac
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_app import Classifier
from ser_edge.audio import decode
from ser_edge.mel.image import mel_image

SCALE, MARGIN, BAR, NAMES, HEAD, SHARE = 2, 16, 180, 90, 26, 40
INK, PAPER, FAINT = (32, 33, 36), (255, 255, 255), (208, 212, 220)
# Black to violet to orange to white, even in lightness as far as three stops allow.
STOPS = np.array([(4, 5, 20), (110, 30, 110), (240, 110, 60), (255, 250, 210)], dtype=float)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="picture to write (.png)")
    parser.add_argument("clips", nargs="+", type=Path)
    options = parser.parse_args()
    classifier = Classifier()
    rows = [draw(classifier, clip) for clip in options.clips]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), PAPER)
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * row.height))
    sheet.save(options.out, optimize=True)
    print(options.out)
    return 0


def draw(classifier: Classifier, clip: Path) -> Image.Image:
    spec = classifier.manifest.spec
    waveform = decode.load(clip, spec.sample_rate)
    grey = np.flipud(mel_image(waveform[: spec.window_samples], spec)) / 255
    colours = np.stack(
        [np.interp(grey, np.linspace(0, 1, len(STOPS)), STOPS[:, c]) for c in range(3)], axis=-1
    )
    picture = Image.fromarray(colours.astype(np.uint8)).resize(
        (spec.frames * SCALE, spec.n_mels * SCALE), Image.Resampling.BICUBIC
    )
    answer = classifier.predict(clip)
    width = picture.width + 4 * MARGIN + NAMES + BAR + SHARE
    row = Image.new("RGB", (width, picture.height + HEAD + 2 * MARGIN), PAPER)
    row.paste(picture, (MARGIN, MARGIN + HEAD))
    pen = ImageDraw.Draw(row)
    font, bold = ImageFont.load_default(14), ImageFont.load_default(16)
    pen.text((MARGIN, MARGIN - 4), f"{clip.name}: {answer.emotion}", INK, bold)
    left = picture.width + 2 * MARGIN
    step = picture.height / len(answer.scores)
    for number, (label, score) in enumerate(answer.scores.items()):
        top = MARGIN + HEAD + number * step
        best = score == answer.confidence
        pen.text((left, top + 1), label, INK, font)
        bar = (left + NAMES, top + 3, left + NAMES + BAR, top + step - 4)
        pen.rectangle(bar, FAINT)
        end = bar[0] + score * BAR
        pen.rectangle((*bar[:2], end, bar[3]), (214, 90, 50) if best else (140, 146, 160))
        pen.text((bar[2] + 8, top + 1), f"{score:.0%}", INK, font)
    return row


if __name__ == "__main__":
    sys.exit(main())
