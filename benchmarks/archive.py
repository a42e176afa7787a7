#!/usr/bin/env python3
"""Kill parts of a cluster while it scores an archive, and see that each clip is there once.

Two nodes of a Ray cluster run on this machine, one processor each. After a quarter of the shards a
worker is killed, after half of them a node, after three quarters the driver; then the same command
goes on. The result is compared with what a classifier says here, clip by clip. So that there is
still work when the time has come, the other node's worker is halted until then.

examples:
  benchmarks/archive.py samples
  benchmarks/archive.py data/ravdess --at-most 300 --shard-size 10

exit status: 0 every clip once and the same scores, 1 not so, 2 wrong usage
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from edge_app import Classifier
from edge_app.archive.runner import OBJECT_STORE_BYTES
from edge_app.inputs import expand
from ser_edge.audio.base import AudioError

SCRIPT: Final = Path(__file__).resolve().parent.parent / "scripts" / "score_archive.py"
LOOK_EVERY: Final = 0.02
PATIENCE: Final = 300.0  # seconds without any new shard


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", help="files, folders, globs")
    parser.add_argument("--at-most", type=int, default=300, metavar="N", help="(default: 300)")
    parser.add_argument("--shard-size", type=int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the result there")
    options = parser.parse_args()
    found = [os.path.abspath(name) for name in expand(options.clips)]  # noqa: PTH100  # no links
    step = max(1, -(-len(found) // max(1, options.at_most)))
    with tempfile.TemporaryDirectory() as scratch:
        broken = [Path(scratch, "empty.wav"), Path(scratch, "text.wav")]
        broken[0].touch()
        broken[1].write_text("this is no sound")
        clips = [*found[::step], *map(str, broken)]
        out = options.out or Path(scratch, "scores")
        listed = Path(scratch, "clips.txt")
        listed.write_text("".join(f"{clip}\n" for clip in clips))
        killed_while_scoring(listed, out, options.shard_size, len(clips))
        return 0 if checked(out, clips, set(map(str, broken))) else 1


def killed_while_scoring(listed: Path, out: Path, shard_size: int, clips: int) -> None:
    """Score a list on two nodes, and kill a worker, a node and the driver on the way."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    resources = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=resources)
    first, second = cluster.head_node, cluster.add_node(**resources)
    words = [sys.executable, str(SCRIPT), "--list", str(listed), "--out", str(out), "--quiet"]
    words += ["--shard-size", str(shard_size), "--address", cluster.address]
    shards = -(-clips // shard_size)
    say(f"{clips} clips in {shards} shards; two nodes, one processor each")
    driver = subprocess.Popen(words)
    try:
        wait_for(shards // 4, out, driver)
        with halting(first) as halt:
            worker = scoring_on(second, driver, halt)
            os.kill(worker, signal.SIGKILL)
            say(f"{parts(out)} shards done: worker {worker} of the second node killed")
        wait_for(shards // 2, out, driver)
        with halting(first) as halt:
            worker = scoring_on(second, driver, halt)  # the next one
            say(f"{parts(out)} shards done: second node killed, with its worker {worker}")
            cluster.remove_node(second, allow_graceful=False)
        wait_for(3 * shards // 4, out, driver)
        with halting(first) as halt:
            halt()
            driver.kill()
            driver.wait()
        done = parts(out)
        say(f"{done} shards done: driver killed")
        assert done < shards, "the driver was too fast to be killed: take more clips"
        status = subprocess.run(words, check=False).returncode
        say(f"the same command again: exit status {status}, {parts(out)} shards done")
    finally:
        driver.kill()
        driver.wait()
        cluster.shutdown()


def checked(out: Path, clips: list[str], broken: set[str]) -> bool:
    """Whether each clip is in the result once, with the scores that a classifier gives it here."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    times = Counter(row["file"] for row in rows)
    once = sum(1 for clip in clips if times[clip] == 1)
    say(f"{len(rows)} rows; {once} of {len(clips)} clips are there once")
    classifier = Classifier(hint="throughput")
    same = failed = 0
    for row in rows:
        expected: dict[str, Any]
        try:
            expected = {**classifier.predict(row["file"]).to_dict(), "error": None}
        except AudioError as error:
            expected = {"file": row["file"], "error": str(error)}
            failed += 1
        same += all(row[key] == value for key, value in expected.items())
    say(f"{same} rows are what the classifier says here; {failed} of them errors")
    errors = {row["file"] for row in rows if row["error"] is not None}
    return once == len(clips) == len(rows) == same and errors >= broken


def wait_for(shards: int, out: Path, driver: subprocess.Popen[bytes]) -> None:
    """Until so many shards are done."""
    last, since = -1, time.monotonic()
    while (done := parts(out)) < shards:
        if driver.poll() is not None:
            raise SystemExit(f"the driver ended with {driver.returncode} after {done} shards")
        if done > last:
            last, since = done, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise SystemExit(f"nothing happens after {done} shards")
        time.sleep(LOOK_EVERY)


def parts(out: Path) -> int:
    return sum(1 for _ in out.glob("part-*.parquet"))


@contextmanager
def halting(node: Any) -> Iterator[Callable[[], None]]:
    """What halts the classifiers that a node has by then; in the end they go on."""
    halted: set[int] = set()

    def halt() -> None:
        for worker in workers(node):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(worker, signal.SIGSTOP)
                halted.add(worker)

    try:
        yield halt
    finally:
        for worker in halted:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)


def scoring_on(node: Any, driver: subprocess.Popen[bytes], halt: Callable[[], None]) -> int:
    """The process of a classifier on a node, as soon as there is one."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and driver.poll() is None:
        if found := workers(node):
            return found[0]
        halt()  # else the other node may do it all
        time.sleep(LOOK_EVERY)
    raise SystemExit("there is no worker on the second node")


def workers(node: Any) -> list[int]:
    """Processes of the classifiers of a node: children of its raylet, by what Ray calls them."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for child in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            name = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"ray::" in name and b"Map" in name:
                found.append(int(child))
    return found


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
