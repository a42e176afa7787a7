#!/usr/bin/env python3
"""Two thousand broken sounds through the real edge-app, watched from outside.

Each must give an answer or one sentence that says what is wrong: no crash, nothing that takes
longer than 5 s, no more than 300 MB. One process hears them all; where it ends or hangs, the sound
that did it is named, and a new process goes on with the rest.
Prints a table and writes benchmarks/malformed.json; with --into also into a document.
Memory is read from /proc, so on Linux alone. Exit status 1 where something is not as it should be.

examples:
  python benchmarks/malformed.py
  python benchmarks/malformed.py --count 20000 --seed 7 --sounds recordings/
  python benchmarks/malformed.py --keep broken/ --into docs/results/malformed.md
"""

from __future__ import annotations

import argparse
import json
import math
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import soundfile

from malformed_sounds import Malformed, good_clips, malformed
from ser_edge.audio.files import files_below, media_installed, sound_suffixes
from ser_edge.files import write_whole
from ser_edge.markdown import table
from ser_edge.markdown.documents import check_document, write_into
from ser_edge.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
EDGE_APP = (sys.executable, "-X", "faulthandler", "-c",
            "import sys; from edge_app.cli import main; sys.exit(main())")  # fmt: skip
TABLE = "malformed"
START_SECONDS = 120.0  # until the first answer: imports, and the network is compiled
ANSWER, ERROR, CRASH, HANG, WRONG = "answer", "error", "crash", "hang", "wrong"
RESULTS = (ANSWER, ERROR, CRASH, HANG, WRONG)


@dataclass(frozen=True)
class Outcome:
    """What came of one file: ``said`` is the error's sentence, or what is wrong."""

    file: str
    result: str
    seconds: float
    megabytes: float | None
    said: str


def fault_of(line: str, file: str) -> str | None:
    """What is wrong with a line of ``--format jsonl`` for a file, or None."""
    try:
        found = json.loads(line)
    except ValueError:
        return f"not JSON: {line[:200]!r}"
    if found.get("file") != file:
        return f"the line is of {found.get('file')!r}"
    if "error" in found:
        error = str(found["error"])
        if not error.startswith(f"{file}: ") or "\n" in error or error.count(file) > 1:
            return f"the error should name the file once, on one line: {error!r}"
        return None if len(error) < len(file) + 300 else f"the error is too long: {error!r}"
    scores = list(found["scores"].values())
    if not all(math.isfinite(score) for score in scores) or abs(sum(scores) - 1) > 1e-4:
        return f"scores {scores}"
    return None if 0 <= found["duration"] < 25 * 3600 else f"duration {found['duration']}"


def peak_megabytes(pid: int) -> float | None:
    """The highest resident memory of a process since this was asked last; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # begin a new peak
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1000 if found else None


def watch(
    command: Sequence[str], files: Sequence[str], limit: float, log: Path
) -> Iterator[Outcome]:
    """Run ``command FILE ...`` over all files, as often as it takes.

    The first file should be a good one: until it is answered, the program may be starting.

    Parameters
    ----------
    command : sequence of str
        Writes a line a file in their order, as ``edge-app predict --format jsonl`` does.
    files : sequence of str
    limit : float
        Seconds that a file may take.
    log : Path
        Where standard error goes.

    Yields
    ------
    Outcome
        One a file, in their order.
    """
    first, rest = files[0], list(files)
    while rest:
        program = [first, *rest] if rest[0] != first else rest
        for outcome in _one_process(command, program, limit, log):
            if outcome.file == rest[0]:
                rest.pop(0)
                yield outcome


def _one_process(
    command: Sequence[str], files: Sequence[str], limit: float, log: Path
) -> Iterator[Outcome]:
    """Outcomes until the program has ended or hangs; the last one says so."""
    lines: queue.Queue[tuple[float, str]] = queue.Queue()
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            [*command, *files], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    out = process.stdout
    assert out is not None

    def read() -> None:
        for line in out:
            lines.put((time.perf_counter(), line))
        lines.put((time.perf_counter(), ""))

    threading.Thread(target=read, daemon=True).start()
    begin = time.perf_counter()
    try:
        for number, file in enumerate(files):
            try:
                at, line = lines.get(timeout=START_SECONDS if number == 0 else limit)
            except queue.Empty:
                memory = peak_megabytes(process.pid)
                yield Outcome(file, HANG, time.perf_counter() - begin, memory, f"over {limit:g} s")
                return
            seconds, begin = (0.0 if number == 0 else at - begin), at
            memory = peak_megabytes(process.pid)
            if not line:
                yield Outcome(file, CRASH, seconds, memory, f"exit status {process.wait()}")
                return
            fault = fault_of(line, file)
            if fault is not None:
                yield Outcome(file, WRONG, seconds, memory, fault)
                continue
            said = json.loads(line).get("error")
            yield Outcome(file, ANSWER if said is None else ERROR, seconds, memory, said or "")
    finally:
        process.kill()
        process.wait()
        out.close()


def _told(outcomes: Iterator[Outcome], count: int) -> Iterator[Outcome]:
    """The same, and how far they are and what went wrong, for who waits."""
    for number, outcome in enumerate(outcomes, start=1):
        if number % 100 == 0 or number == count:
            print(f"{number} of {count}", file=sys.stderr, flush=True)
        if outcome.result not in (ANSWER, ERROR):
            print(outcome, file=sys.stderr, flush=True)
        yield outcome


def markdown(rows: Sequence[tuple[Malformed, Outcome]]) -> str:
    """A row a mutation, and one of all."""
    lines = []
    for mutation in [*dict.fromkeys(broken.mutation for broken, _ in rows), None]:
        found = [o for broken, o in rows if mutation in (None, broken.mutation)]
        counts = Counter(outcome.result for outcome in found)
        peaks = [outcome.megabytes for outcome in found if outcome.megabytes is not None]
        cells = [
            mutation or "**all**",
            str(len(found)),
            *(str(counts[result]) for result in RESULTS),
            f"{max(outcome.seconds for outcome in found):.2f}",
            f"{max(peaks):.0f}" if peaks else "-",
        ]
        lines.append(cells)
    head = ("broken how", "files", "answered", "refused", "crashed", "hung", "wrong line")
    return table((*head, "slowest (s)", "highest memory (MB)"), lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000, help="files (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument(
        "--sounds", type=Path, default=ROOT / "samples", help="good sounds (default: samples/)"
    )
    parser.add_argument("--clips", type=int, default=12, help="of these at most (default: 12)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the broken files there")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds a file (default: 5)")
    parser.add_argument("--megabytes", type=float, default=300.0, help="at most (default: 300)")
    parser.add_argument("--model", default="compact", help="name or .xml (default: compact)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--into", type=Path, metavar="DOC", help="document for the table")
    options = parser.parse_args()
    sounds = list(map(str, files_below(options.sounds, sound_suffixes())))
    if not sounds or options.count < 1 or options.clips < 1:
        parser.error(f"there should be sounds in {options.sounds}, and counts of 1 or more")
    if options.into is not None:
        try:
            check_document(options.into, TABLE)
        except ValueError as error:
            parser.error(str(error))
    step = -(-len(sounds) // options.clips)
    good = good_clips(sounds[::step], options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        broken = []
        for file in malformed(good, options.count, options.seed):
            (folder / file.name).write_bytes(file.content)
            broken.append(file)
        log = Path(temporary) / "stderr.txt"
        command = [*EDGE_APP, "predict", "-m", options.model, "--format", "jsonl"]
        files = [sounds[0], *(str(folder / file.name) for file in broken)]
        first, *outcomes = _told(watch(command, files, options.limit, log), len(files))
        notes = log.read_text(errors="replace")
    rows = list(zip(broken, outcomes, strict=True))
    table = markdown(rows)
    print(table)
    trouble = [
        {**asdict(outcome), "file": file.name}
        for file, outcome in rows
        if outcome.result not in (ANSWER, ERROR)
        or outcome.seconds > options.limit
        or (outcome.megabytes or 0) > options.megabytes
    ]
    for found in trouble:
        print(f"trouble: {found}")
    ill = [word for word in ("Traceback", "Fatal Python error") if word in notes]
    for word in ill:
        print(f"trouble: {word} on standard error")
    peaks = [o.megabytes for o in (first, *outcomes) if o.megabytes is not None]
    result = {
        "what": "broken sounds through edge-app predict: what came of each",
        "files": len(rows),
        "results": {name: sum(o.result == name for o in outcomes) for name in RESULTS},
        "slowest_seconds": round(max(o.seconds for o in outcomes), 3),
        "highest_megabytes": max(peaks, default=None),
        "megabytes_after_a_good_clip": first.megabytes,
        "trouble": trouble,
        "on_standard_error": {word: word in ill for word in ("Traceback", "Fatal Python error")},
        "lines_on_standard_error": len(notes.splitlines()),
        "sentences": Counter(
            _general(o.said, o.file) for o in outcomes if o.result == ERROR
        ).most_common(),
        "seed": options.seed,
        "good_clips": len(good),
        "with_media": media_installed(),
        "versions": {
            **{name: version(name) for name in ("numpy", "openvino", "soundfile", "soxr")},
            "libsndfile": soundfile.__libsndfile_version__,
        },
        "provenance": provenance(),
    }
    write_whole(options.out, json.dumps(result, indent=2) + "\n")
    if options.into is not None:
        write_into(options.into, TABLE, table)
    return 1 if trouble or ill or first.result != ANSWER else 0


def _general(said: str, file: str) -> str:
    """A sentence without its file and numbers, so that equal ones can be counted."""
    return "".join("0" if c.isdigit() else c for c in said.removeprefix(f"{file}: ")).replace(
        "00", "0"
    )


if __name__ == "__main__":
    sys.exit(main())
