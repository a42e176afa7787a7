"""Delivery of events to sinks: specs, rotated files, and sinks that fail."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from edge_app import Event
from edge_app.output.delivery import Delivery, open_sinks
from edge_app.output.files import AppendedFile
from events import LABELS, event, start, until


class Recorder:
    """A sink that raises ``error`` while it is set, and blocks while ``unblocked`` is clear."""

    name = "recorder"

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.error: Exception | None = None
        self.attempts = 0
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.closed = 0

    def event(self, event: Event) -> None:
        self.attempts += 1
        self.unblocked.wait()
        if self.error is not None:
            raise self.error
        json.dumps(event.to_dict(), allow_nan=False)
        self.taken.append(event.start)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def logged() -> list[str]:
    return []


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def deliver(recorder, logged):
    made = []

    def make(*others: Recorder, limit: int = 100) -> Delivery:
        sinks = [(sink, {"segment"}) for sink in (recorder, *others)]
        made.append(Delivery(sinks, limit, delays=(0.01, 0.05), log=logged.append))
        return made[-1]

    yield make
    recorder.unblocked.set()
    for delivery in made:
        delivery.close()


# ------------------------------------------------------------------------------- specs


@pytest.mark.parametrize(
    ("specs", "cause"),
    [
        (["jsonn:x"], "no sink 'jsonn:x', allowed: table, jsonl, csv, audacity"),
        ([""], "there is no sink ''"),
        (["csv:"], "no sink 'csv:'"),
        (["jsonl:nowhere/x"], "there is no folder"),
        (["jsonl:."], "Is a directory"),
        (["table", "jsonl"], "two sinks write to standard output"),
        (["csv:a", "jsonl:./a"], "two sinks write to .*a"),
        (["mqt://anna:secret@host/x"], r"no sink 'mqt://...@host/x'"),
        (["jsonl", "mqtt://"], "names no host"),
    ],
)
def test_a_wrong_spec_is_rejected_without_its_password(specs, cause, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=cause) as caught:
        open_sinks(specs, LABELS)
    assert "secret" not in str(caught.value)


def test_a_wrong_every_is_rejected():
    with pytest.raises(ValueError, match="every is 'hour', allowed: window, segment, change"):
        open_sinks([], LABELS, "hour")


@pytest.mark.parametrize("every", ["window", "segment", "change"])
def test_every_selects_the_kind(every, tmp_path, capfd):
    delivery = open_sinks(["csv", f"jsonl:{tmp_path / 'a.jsonl'}"], LABELS, every)
    kinds = ["window", "change", "window", "segment"]
    for number, kind in enumerate(kinds):
        delivery.event(event(number, kind))
    delivery.close(10)
    expected = [number for number, kind in enumerate(kinds) if kind == every]
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["start"] for line in lines] == expected
    rows = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert [float(row["start"]) for row in rows] == expected
    assert [health.written for health in delivery.health()] == [len(expected)] * 2


def test_without_a_sink_nothing_happens():
    delivery = open_sinks([], LABELS)
    delivery.event(event())
    delivery.close()
    assert delivery.health() == ()


# ------------------------------------------------------------------------------- sinks that fail


def test_a_failing_sink_receives_all_events_in_order_when_it_works_again(deliver, recorder, logged):
    well = Recorder()
    delivery = deliver(well)
    recorder.error = OSError(28, "No space left on device")
    for number in range(50):
        delivery.event(event(number))
    until(lambda: recorder.attempts > 3 and len(well.taken) == 50)
    sick = delivery.health()[0]
    assert (sick.name, sick.ok, sick.written, sick.waiting) == ("recorder", False, 0, 50)
    assert sick.error == "No space left on device"
    assert delivery.health()[1].ok
    recorder.error = None
    until(lambda: len(recorder.taken) == 50)
    assert recorder.taken == well.taken == list(range(50))
    until(lambda: delivery.health()[0].ok)
    delivery.close()
    assert logged == [
        "recorder: No space left on device; retrying, up to 100 events are kept",
        "recorder: works again",
    ]
    assert recorder.closed == well.closed == 1


def test_events_over_the_limit_drop_the_oldest_and_are_counted(deliver, recorder, logged):
    delivery = deliver(limit=10)
    recorder.unblocked.clear()
    delivery.event(event(0))
    until(lambda: recorder.attempts == 1)  # the current event, not one that waits
    recorder.error = ConnectionError("the broker is unreachable")
    for number in range(1, 31):
        delivery.event(event(number))  # does not block, although the sink does
    health = delivery.health()[0]
    assert (health.waiting, health.dropped) == (11, 20)
    recorder.unblocked.set()
    until(lambda: recorder.attempts > 3)
    recorder.error = None
    until(lambda: len(recorder.taken) == 11)
    assert recorder.taken == [0, *range(21, 31)]
    delivery.close()
    assert [line for line in logged if "dropped" in line] == [
        "recorder: 20 events dropped, 20 in all"
    ]
    assert delivery.health()[0].dropped == 20


def test_an_event_that_cannot_be_written_does_not_block_the_next(deliver, recorder, logged):
    delivery = deliver()
    delivery.event(event(0, confidence=float("nan")))
    delivery.event(event(1))
    until(lambda: recorder.taken == [1])
    until(lambda: delivery.health()[0].ok)
    assert delivery.health()[0].dropped == 1
    assert "an event cannot be written" in logged[0]


def test_a_stuck_sink_does_not_delay_the_end(deliver, recorder, logged):
    delivery = deliver()
    recorder.unblocked.clear()
    for number in range(3):
        delivery.event(event(number))
    delivery.close(0.05)
    assert logged == ["recorder: stopped with 3 events not written"]
    delivery.event(event(4))  # too late, and no error
    health = delivery.health()[0]
    assert (health.written, health.waiting, health.dropped) == (0, 0, 4)


def test_waiting_events_are_written_before_the_end(deliver, recorder):
    delivery = deliver()
    recorder.unblocked.clear()
    for number in range(5):
        delivery.event(event(number))
    recorder.unblocked.set()
    delivery.close(30)
    assert recorder.taken == list(range(5))
    assert recorder.closed == 1


@pytest.mark.component
def test_an_idle_sink_may_report_a_problem(logged):
    sink = Recorder()
    sink.problem = "the broker is unreachable"  # type: ignore[attr-defined]
    delivery = Delivery([(sink, {"segment"})], log=logged.append)
    assert delivery.health()[0].error == "the broker is unreachable"
    until(lambda: len(logged) == 1)
    sink.problem = None  # type: ignore[attr-defined]
    assert delivery.health()[0].ok
    until(lambda: logged[1:] == ["recorder: works again"])
    delivery.close()


# ------------------------------------------------------------------------------------------ files


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "events.csv"


def test_a_file_has_one_header(path):
    for number in range(2):
        delivery = open_sinks([f"csv:{path}"], LABELS)
        delivery.event(event(number))
        delivery.close(10)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["start"]) for row in rows] == [0, 1]


@pytest.mark.parametrize("how", ["moved", "deleted", "truncated"])
def test_a_file_may_be_rotated_while_it_is_written(path, how):
    file = AppendedFile(path, "head\n")
    file.write("head\n", "one\n")
    if how == "moved":
        path.rename(path.with_suffix(".1"))
    elif how == "deleted":
        path.unlink()
    else:
        os.truncate(path, 0)
    file.write("head\n", "two\n")
    file.write("head\n", "three\n")
    file.close()
    assert path.read_text() == "head\ntwo\nthree\n"
    if how == "moved":
        assert path.with_suffix(".1").read_text() == "head\none\n"


def test_after_a_power_cut_the_next_line_starts_on_a_new_line(path):
    path.write_text("head\none\ntw")
    file = AppendedFile(path, "head\n")
    file.write("head\n", "three\n")
    file.close()
    assert path.read_text() == "head\none\ntw\nthree\n"


def test_a_csv_with_other_labels_is_rejected(path):
    open_sinks([f"csv:{path}"], LABELS).close()
    delivery = open_sinks([f"csv:{path}"], LABELS)  # the file is still empty
    delivery.event(event())
    delivery.close(10)
    with pytest.raises(ValueError, match=r"events\.csv: it has other columns"):
        open_sinks([f"csv:{path}"], ("negative", "positive"))


@pytest.mark.component
def test_a_full_disk_loses_no_line(path):
    code = """
import resource
path = sys.argv[1]
whole = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, whole[1]))  # no file beyond 1,000 bytes
delivery = open_sinks(["csv:" + path], LABELS)
for number in range(40):
    delivery.event(event(number))
until(lambda: not delivery.health()[0].ok)
print(delivery.health()[0].error)
text = open(path).read()
assert 500 < len(text) <= 1000 and text.endswith("\\n"), text
resource.setrlimit(resource.RLIMIT_FSIZE, whole)
until(lambda: delivery.health()[0].written == 40)
delivery.close()
"""
    program = start(code, path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    assert out == "File too large\n"
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        f"{path}: File too large; retrying, up to 10000 events are kept",
        f"{path}: works again",
    ]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["start"]) for row in rows] == list(range(40))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_that_is_full_is_logged_and_stops_nothing(capfd):
    delivery = open_sinks(["jsonl:/dev/full"], LABELS)
    delivery.event(event())
    until(lambda: not delivery.health()[0].ok)
    assert delivery.health()[0].error == "No space left on device"
    delivery.close()
    assert "/dev/full: stopped with 1 event not written" in capfd.readouterr().err


@pytest.mark.component
def test_the_reader_of_standard_output_may_close_it(path):
    code = """
delivery = open_sinks(["table", "jsonl:" + sys.argv[1]], LABELS)
delivery.event(event(0))
sys.stdin.readline()  # standard output is closed now
for number in range(1, 20):
    delivery.event(event(number))
until(lambda: delivery.health()[1].written == 20 and not delivery.health()[0].ok)
delivery.close()
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with start(code, path, **pipes) as program:
        assert program.stdout.readline().startswith("time")
        assert program.stdout.readline().startswith("16:02:11")
        program.stdout.close()
        program.stdin.write("\n")
        program.stdin.close()
        err = program.stderr.read()
        assert program.wait(60) == 0, err
    assert "standard output: Broken pipe; retrying" in err
    assert "standard output: stopped with 19 events not written" in err
    assert len(path.read_text().splitlines()) == 20


@pytest.mark.component
def test_a_kill_leaves_whole_lines_and_loses_none(path):
    code = """
delivery = open_sinks(["jsonl:" + sys.argv[1]], LABELS)
for number in range(10**9):
    delivery.event(event(number))
    until(lambda: delivery.health()[0].written == number + 1)
    print(number, flush=True)
"""
    with start(code, path, stdout=subprocess.PIPE) as program:
        for _ in range(50):
            last = int(program.stdout.readline())
        program.send_signal(signal.SIGKILL)
        rest = program.stdout.read().split("\n")[:-1]
    last = int(rest[-1]) if rest else last
    text = path.read_text()
    assert text.endswith("\n")
    numbers = [json.loads(line)["start"] for line in text.splitlines()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > last


# ------------------------------------------------------------------------------- edge-app predict


@pytest.mark.component
def test_predict_writes_labels_for_audacity(small_model, tmp_path, capsys):
    import soundfile

    from conftest import speechlike
    from edge_app.cli import main

    soundfile.write(tmp_path / "a.wav", speechlike(8.7, 16_000), 16_000)
    assert main(["predict", "-m", str(small_model), "--format", "audacity", str(tmp_path)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    starts, ends = ([float(row[i]) for row in rows] for i in (0, 1))
    assert starts == [0.0, *ends[:-1]]
    assert ends[-1] == 8.7
    assert rows[0][2] == "silence"  # speechlike starts with silence
    missing = str(tmp_path / "b.wav")
    assert main(["predict", "-m", str(small_model), "--format", "audacity", missing]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no such file" in err
