"""Microphones that are lost, come back under another number, or overrun, with a stand-in."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import ROOT
from edge_app.live import microphone
from edge_app.live.microphone import Device, Microphone, MicrophoneError, find, microphones
from edge_app.live.sources import Lost, Sound

USB = "USB PnP Sound Device: Audio (hw:1,0)"
USB_MOVED = "USB PnP Sound Device: Audio (hw:3,0)"
BOARD = "HDA Intel PCH: ALC256 Analog (hw:0,0)"
NORMAL = SimpleNamespace(input_overflow=False)
OVERRUN = SimpleNamespace(input_overflow=True)


class Stream:
    def __init__(self, module, device, samplerate, channels, dtype, blocksize, callback):
        name, most = module.devices[device]
        if channels not in module.takes.get(name, range(1, most + 1)):
            raise module.error("Invalid number of channels", -9998)
        if name in module.busy:
            raise module.error("Device unavailable", -9985)
        self.module, self.name, self.channels, self.callback = module, name, channels, callback
        self.rate, self.size, self.active, self.closed = samplerate, blocksize, False, False
        assert dtype == "int16"

    def start(self):
        self.active = True
        self.module.streams.append(self)

    def abort(self):
        self.active = False
        if self.module.hangs:
            threading.Event().wait(30)

    def close(self):
        self.closed = True

    def speak(self, value, flags=NORMAL):
        block = np.full((self.size, self.channels), value, dtype=np.int16)
        self.callback(block, self.size, None, flags)


class StandIn:
    """Stand-in for the module sounddevice; ``plugged`` is listed after a restart."""

    class error(Exception):  # noqa: N801 N818
        pass

    def __init__(self, *names, channels=2):
        self.plugged = [(name, channels) for name in names]
        self.devices = list(self.plugged)
        self.streams, self.busy, self.takes, self.restarts = [], set(), {}, 0
        self.hangs = False

    def query_devices(self, kind=None):
        listed = [
            {"name": name, "max_input_channels": channels, "default_samplerate": 48_000.0,
             "index": number}
            for number, (name, channels) in enumerate(self.devices)
        ]  # fmt: skip
        if kind is None:
            return listed
        if not listed:
            raise self.error("Error querying device -1")
        return listed[0]

    def InputStream(self, **options):  # noqa: N802
        return Stream(self, **options)

    def _terminate(self):
        self.restarts += 1

    def _initialize(self):
        self.devices = list(self.plugged)


@pytest.fixture
def quick(monkeypatch):
    """Shorten delays of seconds."""
    monkeypatch.setattr(microphone, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(microphone, "LAST_DELAY", 0.04)
    monkeypatch.setattr(microphone, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(microphone, "_CLOSE_SECONDS", 0.05)


class Listener:
    """Runs a microphone in a thread, like ``listen``."""

    def __init__(self, wanted, module, **options):
        self.logged, self.items, self.now = [], [], 0.0
        self.mic = Microphone(
            wanted, say=self.logged.append, module=module, clock=lambda: self.now, **options
        )
        self.stop, self.module = threading.Event(), module
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for item in self.mic.items(self.stop):
            self.items.append(item)

    def until(self, done):
        for _ in range(1_000):
            if done():
                return
            threading.Event().wait(0.01)
        raise AssertionError((self.mic.status, self.logged))

    def end(self):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def sounds(self):
        return [item for item in self.items if isinstance(item, Sound)]


def test_audio_has_the_microphones_own_rate(quick):
    module = StandIn(BOARD, USB)
    one = Listener("usb", module)
    one.until(lambda: module.streams)
    module.streams[0].speak(7)
    module.streams[0].speak(8)
    one.until(lambda: len(one.sounds()) == 2)
    assert module.streams[0].name == USB
    assert [(s.rate, s.samples[0], s.samples.size) for s in one.sounds()] == [
        (48_000, 7, 4_800), (48_000, 8, 4_800),
    ]  # fmt: skip
    status = one.mic.status
    assert (status.state, status.source, status.rate, status.heard) == (
        "listening", USB, 48_000, 0.2,
    )  # fmt: skip
    assert status.ok
    assert status.to_dict()["overruns"] == 0
    one.end()
    assert one.mic.status.state == "ended"
    assert module.streams[0].closed
    assert one.logged == []


@pytest.mark.parametrize("hangs", [False, True], ids=["closes", "hangs when closed"])
@pytest.mark.parametrize("how", ["stops", "falls silent"])
def test_a_lost_microphone_is_found_by_name_under_another_number(quick, how, hangs):
    module = StandIn(BOARD, USB)
    module.hangs = hangs
    one = Listener("1", module)  # resolved to a name
    one.until(lambda: module.streams)
    module.streams[0].speak(1)
    one.until(lambda: one.sounds())
    module.plugged = [(BOARD, 2)]
    if how == "stops":
        module.streams[0].active = False
    else:
        one.now += 3.5  # and no block
    one.until(lambda: one.mic.status.lost == 1 and "no microphone" in (one.mic.status.error or ""))
    assert one.mic.status.state == "lost"
    assert not one.mic.status.ok
    assert len(module.streams) == 1  # the board's microphone is not taken in its place
    one.now += 60.0
    module.plugged = [("Webcam: USB Audio (hw:1,0)", 1), (BOARD, 2), (USB_MOVED, 2)]
    one.until(lambda: len(module.streams) == 2)
    assert module.streams[1].name == USB_MOVED
    module.streams[1].speak(2)
    one.until(lambda: len(one.sounds()) == 2)
    assert [type(item).__name__ for item in one.items] == ["Sound", "Lost", "Sound"]
    assert (one.mic.status.state, one.mic.status.error) == ("listening", None)
    one.end()
    assert any("microphone lost" in line and USB in line for line in one.logged)
    assert any("found again" in line and "60.0 s" in line for line in one.logged)
    assert len(one.logged) <= 5  # not one for each attempt


def test_a_missing_microphone_is_waited_for(quick):
    module = StandIn(BOARD)
    one = Listener("usb", module)
    one.until(lambda: module.restarts >= 2)
    assert one.mic.status.state == "waiting"
    assert f"available: 0: {BOARD}" in one.logged[0]
    module.plugged.append((USB, 1))
    one.until(lambda: module.streams)
    module.streams[0].speak(1)
    one.until(lambda: one.mic.status.ok)
    one.end()


def test_a_busy_microphone_is_retried(quick):
    module = StandIn(USB)
    module.busy.add(USB)
    one = Listener(None, module)
    one.until(lambda: module.restarts >= 1)
    assert one.mic.status.error == f"microphone {USB} cannot be opened: Device unavailable"
    module.busy.clear()
    one.until(lambda: module.streams)
    one.end()


def test_delays_grow_to_their_limit(quick, monkeypatch):
    module, waits = StandIn(), []
    mic = Microphone("usb", module=module)
    stop = threading.Event()

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 6:
            stop.set()

    monkeypatch.setattr(stop, "wait", wait)
    assert list(mic.items(stop)) == []
    assert waits == [0.01, 0.02, 0.04, 0.04, 0.04, 0.04]


def test_two_channels_are_mixed(quick):
    module = StandIn(USB)
    module.takes[USB] = (2,)
    one = Listener("usb", module)
    one.until(lambda: module.streams)
    block = np.array([[100, 300]] * 10, dtype=np.int16)
    module.streams[0].callback(block, 10, None, NORMAL)
    one.until(lambda: one.sounds())
    assert one.sounds()[0].samples.tolist() == [200] * 10
    one.end()


def test_the_drivers_buffer_is_copied(quick):
    module = StandIn(USB, channels=1)
    one = Listener("usb", module)
    one.until(lambda: module.streams)
    block = np.full((10, 1), 5, dtype=np.int16)
    module.streams[0].callback(block, 10, None, NORMAL)
    block[:] = 9
    one.until(lambda: one.sounds())
    assert one.sounds()[0].samples.tolist() == [5] * 10
    one.end()


def test_overruns_are_counted_and_reported_ever_less_often(quick):
    module = StandIn(USB)
    one = Listener("usb", module)
    one.until(lambda: module.streams)
    for number in range(1, 65):
        module.streams[0].speak(1, OVERRUN)
        one.until(lambda number=number: one.mic.status.overruns == number)
    assert [line for line in one.logged if "overrun" in line] == [
        f"overrun: the driver lost audio ({n} times so far)" for n in (1, 2, 4, 8, 16, 32, 64)
    ]
    one.end()


def test_dropped_audio_is_counted_and_reported(quick):
    module, logged = StandIn(USB), []
    mic = Microphone("usb", say=logged.append, module=module)
    stop = threading.Event()
    items = mic.items(stop)
    first = threading.Timer(0.05, lambda: module.streams[0].speak(0))
    first.start()
    assert isinstance(next(items), Sound)
    for number in range(305):  # 30.5 s while nothing is read
        module.streams[0].speak(number)
    taken = [next(items) for _ in range(150)]
    assert [item.samples[0] for item in taken] == list(range(150))
    module.streams[0].speak(400)  # half of the queue is free
    assert [next(items).samples[0] for _ in range(150)] == list(range(150, 300))
    assert isinstance(next(items), Lost)  # the audio is not contiguous
    assert next(items).samples[0] == 400
    assert mic.status.dropped == pytest.approx(0.5)
    assert logged == ["too slow: 0.5 s of audio dropped so far"]
    stop.set()
    assert list(items) == []


# -------------------------------------------------------------------------------- finding them

DEVICES = (
    Device(0, BOARD, 2, 44_100),
    Device(2, USB, 1, 48_000),
    Device(3, "Webcam: USB Audio (hw:2,0)", 1, 48_000),
)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [(None, 3), ("0", 0), ("2", 2), (USB, 2), (USB_MOVED, 2), ("pnp", 2), ("webcam", 3)],
)
def test_find(wanted, number):
    assert find(wanted, DEVICES, default=3).number == number


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        ("1", "no microphone number 1; available: 0: HDA"),
        ("usb", "is ambiguous, give more of it: .*PnP.*Webcam"),
        ("yeti", "no microphone 'yeti'; available: 0: HDA"),
    ],
)
def test_find_lists_available_microphones(wanted, cause):
    with pytest.raises(MicrophoneError, match=cause):
        find(wanted, DEVICES)


def test_of_two_of_the_same_make_the_first_is_found():
    assert find("pnp", (Device(1, USB, 1, 1), Device(4, USB_MOVED, 1, 1))).number == 1


def test_an_unknown_number_is_an_error_at_once():
    with pytest.raises(MicrophoneError, match="number 9"):
        Microphone("9", module=StandIn(USB))


@pytest.mark.parametrize("rate", [1, 500_000])
def test_a_wrong_rate_is_rejected(rate):
    with pytest.raises(ValueError, match=f"rate is {rate}, allowed"):
        Microphone("usb", rate, module=StandIn(USB))


def test_outputs_are_not_listed():
    module = StandIn(USB)
    module.devices.append(("Speaker", 0))
    assert [one.name for one in microphones(module)] == [USB]


def test_without_sounddevice_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MicrophoneError, match=r"pip install 'ser-edge\[mic\]'.*arecord"):
        microphones()


@pytest.mark.component
def test_portaudio_itself(portaudio):
    """The real library lists what there is, perhaps nothing."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from edge_app.cli import main; sys.exit(main())",
         "listen", "--list-mics"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
