"""Events to sinks: formats, files under a writer's hands, and sinks that fail."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conftest import ROOT
from edge_app import Event
from edge_app.output.delivery import Delivery, open_sinks
from edge_app.output.event_formats import LINE_FORMATS
from edge_app.output.files import LineFile
from events import LABELS, event, until


class Recorder:
    """A sink that fails as it is told: ``trouble`` is raised for as long as it is there."""

    name = "recorder"

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.trouble: Exception | None = None
        self.attempts = 0
        self.gate = threading.Event()
        self.gate.set()
        self.closed = 0

    def event(self, event: Event) -> None:
        self.attempts += 1
        self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        json.dumps(event.to_dict(), allow_nan=False)
        self.taken.append(event.start)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def deliver(recorder, said):
    made = []

    def make(*others: Recorder, limit: int = 100) -> Delivery:
        sinks = [(sink, {"segment"}) for sink in (recorder, *others)]
        made.append(Delivery(sinks, limit, delays=(0.01, 0.05), say=said.append))
        return made[-1]

    yield make
    recorder.gate.set()
    for delivery in made:
        delivery.close()


# ---------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("form", "header", "line"),
    [
        ("audacity", "", "3.000000\t5.500000\tangry\n"),
        (
            "csv",
            "kind,start,end,time,emotion,confidence,calm,angry,sad,source,device,model\n",
            "segment,3.0,5.5,2026-11-21T16:02:11.250+01:00,angry,0.625,0.25,0.625,0.125,"
            "USB mic,CPU,compact\n",
        ),
        (
            "table",
            "time      kind          from           to    emotion  confidence\n",
            "16:02:11  segment        3.0 s        5.5 s  angry    ############........  62%"
            "  (angry 62%, calm 25%, sad 12%)\n",
        ),
    ],
)
def test_a_format_writes_this_line(form, header, line):
    written = LINE_FORMATS[form](LABELS)
    assert written.header == header
    assert written.line(event(3)) == line


def test_json_lines_hold_the_whole_event():
    line = LINE_FORMATS["jsonl"](LABELS).line(event(3))
    assert line.endswith("\n")
    assert json.loads(line) == event(3).to_dict()


@pytest.mark.parametrize("form", list(LINE_FORMATS))
def test_an_event_is_one_line_whatever_its_source_is_called(form):
    line = LINE_FORMATS[form](LABELS).line(event(source='a\nb\t"c",\r\udcff'))
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert "\r" not in line


# ------------------------------------------------------------------------------- what a user names


@pytest.mark.parametrize(
    ("specs", "cause"),
    [
        (["jsonn:x"], "no sink 'jsonn:x', allowed: table, jsonl, csv, audacity"),
        ([""], "there is no sink ''"),
        (["csv:"], "no sink 'csv:'"),
        (["jsonl:nowhere/x"], "there is no folder"),
        (["jsonl:."], "Is a directory"),
        (["table", "jsonl"], "two sinks go to standard output"),
        (["csv:a", "jsonl:./a"], "two sinks go to .*a"),
        (["mqt://anna:secret@host/x"], r"no sink 'mqt://...@host/x'"),
        (["jsonl", "mqtt://"], "names no host"),
    ],
)
def test_a_wrong_spec_is_refused_and_tells_no_password(specs, cause, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=cause) as caught:
        open_sinks(specs, LABELS)
    assert "secret" not in str(caught.value)


def test_a_wrong_every_is_refused():
    with pytest.raises(ValueError, match="every is 'hour', allowed: window, segment, change"):
        open_sinks([], LABELS, "hour")


@pytest.mark.parametrize("every", ["window", "segment", "change"])
def test_every_chooses_the_kind(every, tmp_path, capfd):
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


def test_a_sink_that_fails_gets_everything_in_order_once_it_is_back(deliver, recorder, said):
    well = Recorder()
    delivery = deliver(well)
    recorder.trouble = OSError(28, "No space left on device")
    for number in range(50):
        delivery.event(event(number))
    until(lambda: recorder.attempts > 3 and len(well.taken) == 50)
    sick = delivery.health()[0]
    assert (sick.name, sick.ok, sick.written, sick.waiting) == ("recorder", False, 0, 50)
    assert sick.error == "No space left on device"
    assert delivery.health()[1].ok
    recorder.trouble = None
    until(lambda: len(recorder.taken) == 50)
    assert recorder.taken == well.taken == list(range(50))
    until(lambda: delivery.health()[0].ok)
    delivery.close()
    assert said == [
        "recorder: No space left on device; trying again, up to 100 events are kept",
        "recorder: well again",
    ]
    assert recorder.closed == well.closed == 1


def test_more_than_the_limit_drops_the_oldest_and_says_how_many(deliver, recorder, said):
    delivery = deliver(limit=10)
    recorder.gate.clear()
    delivery.event(event(0))
    until(lambda: recorder.attempts == 1)  # in hand: not among those that wait
    recorder.trouble = ConnectionError("the broker is away")
    for number in range(1, 31):
        delivery.event(event(number))  # does not block, though the sink does
    health = delivery.health()[0]
    assert (health.waiting, health.dropped) == (11, 20)
    recorder.gate.set()
    until(lambda: recorder.attempts > 3)
    recorder.trouble = None
    until(lambda: len(recorder.taken) == 11)
    assert recorder.taken == [0, *range(21, 31)]
    delivery.close()
    assert [line for line in said if "dropped" in line] == [
        "recorder: 20 events dropped, 20 in all"
    ]
    assert delivery.health()[0].dropped == 20


def test_an_event_that_can_never_be_written_does_not_stop_the_next(deliver, recorder, said):
    delivery = deliver()
    delivery.event(event(0, confidence=float("nan")))
    delivery.event(event(1))
    until(lambda: recorder.taken == [1])
    until(lambda: delivery.health()[0].ok)
    assert delivery.health()[0].dropped == 1
    assert "an event cannot be written" in said[0]


def test_a_sink_that_is_stuck_holds_up_no_end(deliver, recorder, said):
    delivery = deliver()
    recorder.gate.clear()
    for number in range(3):
        delivery.event(event(number))
    delivery.close(0.05)
    assert said == ["recorder: ended with 3 events not written"]
    delivery.event(event(4))  # too late, and no error
    health = delivery.health()[0]
    assert (health.written, health.waiting, health.dropped) == (0, 0, 4)


def test_what_waits_is_written_before_the_end(deliver, recorder):
    delivery = deliver()
    recorder.gate.clear()
    for number in range(5):
        delivery.event(event(number))
    recorder.gate.set()
    delivery.close(30)
    assert recorder.taken == list(range(5))
    assert recorder.closed == 1


@pytest.mark.component
def test_a_sink_that_has_nothing_to_write_may_still_be_unwell(said):
    sink = Recorder()
    sink.problem = "the broker is away"  # type: ignore[attr-defined]
    delivery = Delivery([(sink, {"segment"})], say=said.append)
    assert delivery.health()[0].error == "the broker is away"
    until(lambda: len(said) == 1)
    sink.problem = None  # type: ignore[attr-defined]
    assert delivery.health()[0].ok
    until(lambda: said[1:] == ["recorder: well again"])
    delivery.close()


# ------------------------------------------------------------------------------------------ files


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "events.csv"


def test_a_header_stands_at_the_beginning_of_a_file_alone(path):
    for number in range(2):
        delivery = open_sinks([f"csv:{path}"], LABELS)
        delivery.event(event(number))
        delivery.close(10)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["start"]) for row in rows] == [0, 1]


@pytest.mark.parametrize("how", ["moved", "deleted", "truncated"])
def test_a_file_is_rotated_under_the_writers_hands(path, how):
    file = LineFile(path, "head\n")
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


def test_a_line_that_a_power_cut_tore_is_not_glued_to_the_next(path):
    path.write_text("head\none\ntw")
    file = LineFile(path, "head\n")
    file.write("head\n", "three\n")
    file.close()
    assert path.read_text() == "head\none\ntw\nthree\n"


def test_a_csv_with_other_labels_is_refused(path):
    open_sinks([f"csv:{path}"], LABELS).close()
    delivery = open_sinks([f"csv:{path}"], LABELS)  # empty as yet: no reason
    delivery.event(event())
    delivery.close(10)
    with pytest.raises(ValueError, match=r"events\.csv: it begins with other columns"):
        open_sinks([f"csv:{path}"], ("negative", "positive"))


def run(code: str, *words: object, **options: object) -> subprocess.Popen:
    """A program of its own, with the helpers of this file."""
    start = (
        "import resource, sys, time\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'support')!r}]\n"
        "from edge_app.output.delivery import Delivery, open_sinks\n"
        "from events import LABELS, event, until\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *map(str, words)], text=True, **options
    )


@pytest.mark.component
def test_a_full_disk_leaves_whole_lines_and_loses_none(path):
    code = """
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
    program = run(code, path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    assert out == "File too large\n"
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        f"{path}: File too large; trying again, up to 10000 events are kept",
        f"{path}: well again",
    ]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["start"]) for row in rows] == list(range(40))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_that_is_full_is_said_and_stops_nothing(capfd):
    delivery = open_sinks(["jsonl:/dev/full"], LABELS)
    delivery.event(event())
    until(lambda: not delivery.health()[0].ok)
    assert delivery.health()[0].error == "No space left on device"
    delivery.close()
    assert "/dev/full: ended with 1 event not written" in capfd.readouterr().err


@pytest.mark.component
def test_who_reads_standard_output_may_leave(path):
    code = """
delivery = open_sinks(["table", "jsonl:" + sys.argv[1]], LABELS)
delivery.event(event(0))
sys.stdin.readline()  # the reader has gone
for number in range(1, 20):
    delivery.event(event(number))
until(lambda: delivery.health()[1].written == 20 and not delivery.health()[0].ok)
delivery.close()
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with run(code, path, **pipes) as program:
        assert program.stdout.readline().startswith("time")
        assert program.stdout.readline().startswith("16:02:11")
        program.stdout.close()
        program.stdin.write("\n")
        program.stdin.close()
        err = program.stderr.read()
        assert program.wait(60) == 0, err
    assert "standard output: Broken pipe; trying again" in err
    assert "standard output: ended with 19 events not written" in err
    assert len(path.read_text().splitlines()) == 20


@pytest.mark.component
def test_killed_at_any_moment_a_file_holds_whole_lines_and_all_that_was_written(path):
    code = """
delivery = open_sinks(["jsonl:" + sys.argv[1]], LABELS)
for number in range(10**9):
    delivery.event(event(number))
    until(lambda: delivery.health()[0].written == number + 1)
    print(number, flush=True)
"""
    with run(code, path, stdout=subprocess.PIPE) as program:
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


# ---------------------------------------------------------------------------------- predict's own


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
    assert rows[0][2] == "silence"  # speechlike begins softly
    missing = str(tmp_path / "b.wav")
    assert main(["predict", "-m", str(small_model), "--format", "audacity", missing]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no such file" in err
