"""Events to a real broker (mosquitto), as a real subscriber sees them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from edge_app.output import mqtt
from edge_app.output.delivery import Delivery, open_sinks
from edge_app.output.homeassistant import identifier
from edge_app.output.mqtt import Mqtt, MqttAddress
from events import LABELS, event, start, until

# Debian installs it in a folder that is not in every PATH.
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
ALLOWED = "allow_anonymous true\n"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Broker:
    """A mosquitto on a free port, without persistence."""

    def __init__(self, folder: Path, settings: str = ALLOWED) -> None:
        if MOSQUITTO is None:
            pytest.skip("there is no mosquitto (apt-get install mosquitto)")
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        user = "user root\n" if os.getuid() == 0 else ""  # otherwise it may not read the folder
        self._config.write_text(f"{user}listener {self.port} 127.0.0.1\n{settings}")
        self._program: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        self._program = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._config)], stderr=subprocess.DEVNULL
        )
        until(self._listens)

    def _listens(self) -> bool:
        assert self._program is not None
        assert self._program.poll() is None, "mosquitto did not start"
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._program is not None:
            self._program.terminate()
            self._program.wait(30)
            self._program = None


@pytest.fixture
def start_broker(tmp_path) -> Iterator[Callable[..., Broker]]:
    started = []

    def start(settings: str = ALLOWED) -> Broker:
        started.append(Broker(tmp_path, settings))
        return started[-1]

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture
def broker(start_broker) -> Broker:
    return start_broker()


@dataclass(frozen=True)
class Message:
    topic: str
    payload: str
    retained: bool

    @property
    def values(self) -> dict:
        return json.loads(self.payload)


class Subscriber:
    """Records all messages of a broker, in order."""

    def __init__(self, broker: Broker, *, user: str | None = None, password: str | None = None):
        self.messages: list[Message] = []
        self._ready = threading.Event()
        newer = hasattr(paho, "CallbackAPIVersion")
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2) if newer else paho.Client()
        self._client.reconnect_delay_set(1, 1)
        self._client.username_pw_set(user, password)
        self._client.on_connect = lambda *_: self._client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(60)

    def _take(self, _client, _data, message) -> None:
        text = message.payload.decode()
        self.messages.append(Message(message.topic, text, message.retain))

    def on(self, topic: str) -> list[Message]:
        return [message for message in self.messages if message.topic == topic]

    def wait_again(self) -> None:
        """Wait for a new subscription after the broker was stopped."""
        self._ready.clear()
        assert self._ready.wait(60)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def subscriber(broker) -> Iterator[Subscriber]:
    listening = Subscriber(broker)
    yield listening
    listening.close()


def address(broker: Broker, more: str = "") -> str:
    return f"mqtt://127.0.0.1:{broker.port}/home/kitchen{more}"


def program(*specs: str, environment: dict[str, str] | None = None) -> subprocess.Popen:
    """A process that sends a change, prints ``sent``, and waits for a line to end."""
    code = (
        "delivery = open_sinks(sys.argv[1:], LABELS)\n"
        "delivery.event(event(1, 'change'))\n"
        "until(lambda: all(sink.written for sink in delivery.health()))\n"
        "print('sent', flush=True); sys.stdin.readline(); delivery.close()"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return start(code, *specs, env=os.environ | (environment or {}), **pipes)


# ------------------------------------------------------------------------------ published messages


def test_home_assistant_discovers_a_device_with_its_sensors(broker, subscriber):
    delivery = open_sinks([address(broker, "?name=Kitchen")], LABELS)
    until(lambda: subscriber.on("home/kitchen/availability"))
    delivery.close(10)
    late = Subscriber(broker)  # like Home Assistant after a restart
    until(lambda: len(late.messages) == 3)
    late.close()
    assert all(message.retained for message in late.messages)
    config = late.on("homeassistant/device/ser_edge_home_kitchen/config")[0].values
    # Required by Home Assistant's DEVICE_DISCOVERY_SCHEMA.
    assert config["device"]["identifiers"] == ["ser_edge_home_kitchen"]
    assert config["device"]["name"] == "Kitchen"
    assert config["origin"]["name"] == "ser-edge"
    assert config["availability_topic"] == "home/kitchen/availability"
    sensors = config["components"]
    assert list(sensors) == ["emotion", "confidence", "score_calm", "score_angry", "score_sad"]
    assert {sensor["platform"] for sensor in sensors.values()} == {"sensor"}
    assert len({sensor["unique_id"] for sensor in sensors.values()}) == 5
    assert {sensor["state_topic"] for sensor in sensors.values()} == {"home/kitchen/state"}
    emotion = sensors.pop("emotion")
    # A sensor with options must have the class enum, no unit and no state class.
    assert emotion["device_class"] == "enum"
    assert emotion["options"] == [*LABELS, "unknown", "silence"]
    assert not {"unit_of_measurement", "state_class"} & set(emotion)
    assert {sensor["unit_of_measurement"] for sensor in sensors.values()} == {"%"}


def test_templates_render_before_and_after_the_first_event(broker, subscriber):
    jinja2 = pytest.importorskip("jinja2")
    labels = ("calm", "angry", 'it\'s "so-so" \\ très')
    delivery = open_sinks([address(broker)], labels)
    scores = {"calm": 0.25, "angry": 0.625, labels[2]: 0.125}
    delivery.event(event(1, "change", scores=scores))
    until(lambda: len(subscriber.on("home/kitchen/state")) == 2)
    delivery.close(10)
    (config,) = subscriber.on("homeassistant/device/ser_edge_home_kitchen/config")
    sensors = config.values["components"].values()

    def shown(state: Message) -> list[str]:
        return [
            jinja2.Template(sensor["value_template"]).render(value_json=state.values)
            for sensor in sensors
        ]

    before, after = subscriber.on("home/kitchen/state")
    assert shown(before) == ["None"] * 5  # Home Assistant's name for an unknown state
    assert shown(after) == ["angry", "62.5", "25.0", "62.5", "12.5"]
    attributes = jinja2.Template(config.values["components"]["emotion"]["json_attributes_template"])
    assert json.loads(attributes.render(value_json=after.values))["source"] == "USB mic"


@pytest.mark.parametrize(
    ("every", "events", "states", "scores_topic"),
    [
        ("segment", [4], [None, 1, 3], "home/kitchen/state"),
        ("change", [1, 3], [None, 1, 3], "home/kitchen/state"),
        ("window", [0, 2], [None, 1, 3], "home/kitchen/window"),
    ],
)
def test_state_follows_changes_and_events_are_those_requested(
    broker, subscriber, every, events, states, scores_topic
):
    delivery = open_sinks([address(broker)], LABELS, every)
    for number, kind in enumerate(["window", "change", "window", "change", "segment"]):
        delivery.event(event(number, kind))
    until(lambda: delivery.health()[0].waiting == 0)
    delivery.close(10)
    until(lambda: len(subscriber.on("home/kitchen/availability")) == 2)
    assert delivery.health()[0].ok  # disconnecting ourselves is no failure
    sent = subscriber.on(f"home/kitchen/{every}")
    assert [message.values["start"] for message in sent] == events
    assert sent[0].values == event(events[0], every).to_dict()
    assert [message.values["start"] for message in subscriber.on("home/kitchen/state")] == states
    assert [message.payload for message in subscriber.on("home/kitchen/availability")] == [
        "online",
        "offline",
    ]
    (config,) = subscriber.on("homeassistant/device/ser_edge_home_kitchen/config")
    assert config.values["components"]["score_sad"]["state_topic"] == scores_topic


def test_the_discovery_prefix_can_be_changed_or_off(broker, subscriber):
    for more in ("?discovery=off", "?discovery=ha/here"):
        delivery = open_sinks([address(broker, more)], LABELS)
        delivery.event(event())
        delivery.close(10)
    until(lambda: len(subscriber.on("home/kitchen/availability")) == 4)
    described = [message.topic for message in subscriber.messages if "config" in message.topic]
    assert described == ["ha/here/device/ser_edge_home_kitchen/config"]


def test_a_killed_process_is_offline_by_last_will(broker, subscriber):
    with program(address(broker)) as running:
        assert running.stdout.readline() == "sent\n"
        until(lambda: subscriber.on("home/kitchen/availability"))
        running.send_signal(signal.SIGKILL)
    until(lambda: len(subscriber.on("home/kitchen/availability")) == 2)
    assert subscriber.on("home/kitchen/availability")[1].payload == "offline"
    late = Subscriber(broker)
    until(lambda: late.on("home/kitchen/availability"))
    assert late.on("home/kitchen/availability")[0] == Message(
        "home/kitchen/availability", "offline", True
    )
    late.close()


# ------------------------------------------------------------------------------ unreachable broker


def test_a_restart_of_the_broker_loses_no_event(broker, subscriber, capfd):
    delivery = open_sinks([address(broker)], LABELS)
    for number in range(5):
        delivery.event(event(number))
    until(lambda: len(subscriber.on("home/kitchen/segment")) == 5)
    broker.stop()
    for number in range(5, 200):
        delivery.event(event(number))
    until(lambda: not delivery.health()[0].ok)
    assert delivery.health()[0].waiting == 195
    again = threading.Thread(target=broker.start)
    again.start()
    subscriber.wait_again()
    again.join()
    until(lambda: len(subscriber.on("home/kitchen/segment")) == 200)
    until(lambda: delivery.health()[0].written == 200)
    assert [m.values["start"] for m in subscriber.on("home/kitchen/segment")] == list(range(200))
    until(lambda: delivery.health()[0].ok)
    # The broker had lost these messages.
    assert subscriber.on("homeassistant/device/ser_edge_home_kitchen/config")
    assert subscriber.on("home/kitchen/availability")[-1].payload == "online"
    delivery.close(10)
    lines = [line for line in capfd.readouterr().err.splitlines() if "kitchen" in line]
    assert 2 <= len(lines) <= 4  # each reason once: connection lost, refused
    assert "retrying, up to 10000 events are kept" in lines[0]
    assert lines[-1].endswith("/home/kitchen: works again")


def test_a_broker_may_start_after_the_client(broker):
    broker.stop()
    logged: list[str] = []
    sink = Mqtt(MqttAddress.parse(address(broker)), LABELS, "segment")
    delivery = Delivery([(sink, {"segment"})], limit=10, delays=(0.01, 0.1), log=logged.append)
    for number in range(3):
        delivery.event(event(number))
    until(lambda: "is unreachable" in str(delivery.health()[0].error))
    assert "refused" in str(delivery.health()[0].error)
    for number in range(3, 31):
        delivery.event(event(number))
    health = delivery.health()[0]
    assert (health.ok, health.written) == (False, 0)
    kept, lost = health.waiting, health.dropped
    assert kept + lost == 31
    assert kept in (10, 11)  # ten wait, and one may have been the current event
    broker.start()
    until(lambda: delivery.health()[0].written == kept)
    delivery.close(10)
    assert [line for line in logged if "dropped" in line] == [
        f"{sink.name}: {lost} events dropped, {lost} in all"
    ]


def test_the_end_does_not_wait_for_an_unreachable_broker(broker, capfd):
    broker.stop()
    delivery = open_sinks([address(broker)], LABELS)
    delivery.event(event())
    delivery.close()
    assert "stopped with 1 event not written" in capfd.readouterr().err


@pytest.mark.component
def test_messages_do_not_pile_up_if_the_broker_closes_every_connection():
    """It accepts a connection and closes it at the first message, as for missing rights."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sink = Mqtt(MqttAddress.parse(f"mqtt://127.0.0.1:{port}/home/kitchen"), LABELS, "segment")
        delivery = Delivery([(sink, {"segment"})], delays=(0.01, 0.1), log=lambda text: None)
        delivery.event(event())
        for _ in range(4):
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(bytes([0x20, 2, 0, 0]))  # CONNACK: welcome
                connection.recv(1)
        health = delivery.health()[0]
        assert (health.ok, health.written, health.waiting) == (False, 0, 1)
        # Three announcements and the event.
        assert len(sink._client._out_messages) <= 4
        delivery.close(1)


# ----------------------------------------------------------------------- passwords and certificates


@pytest.fixture
def protected_broker(start_broker, tmp_path) -> Broker:
    """A broker for anna, whose password is p@ss/word."""
    passwords = tmp_path / "passwords"
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("there is no mosquitto_passwd (apt-get install mosquitto)")
    subprocess.run([tool, "-b", "-c", str(passwords), "anna", "p@ss/word"], check=True)
    return start_broker(f"allow_anonymous false\npassword_file {passwords}\n")


@pytest.mark.parametrize("how", ["address", "environment", "file"])
def test_a_password_is_used_and_not_shown(protected_broker, how, tmp_path):
    (tmp_path / "secret").write_text("p@ss/word\n")
    spec = address(protected_broker).replace(
        "//", "//anna:p%40ss%2Fword@" if how == "address" else "//anna@"
    )
    if how == "file":
        spec += f"?password_file={tmp_path / 'secret'}"
    environment = {mqtt.PASSWORD_VARIABLE: "p@ss/word"} if how == "environment" else {}
    listening = Subscriber(protected_broker, user="anna", password="p@ss/word")
    with program(spec, environment=environment) as running:
        assert running.stdout.readline() == "sent\n"
        out, err = running.communicate("\n", timeout=60)
    until(lambda: len(listening.on("home/kitchen/availability")) == 2)
    listening.close()
    assert running.returncode == 0
    assert "pass" not in out + err + listening.messages[0].payload
    assert "p%40ss" not in repr(MqttAddress.parse(spec))
    assert "p@ss" not in repr(MqttAddress.parse(spec, environment))
    assert "anna" not in MqttAddress.parse(spec).shown


def test_a_wrong_password_is_reported_without_showing_it(protected_broker, capfd, monkeypatch):
    monkeypatch.setenv(mqtt.PASSWORD_VARIABLE, "guessed")
    delivery = open_sinks([address(protected_broker).replace("//", "//anna@")], LABELS)
    delivery.event(event())
    until(lambda: "rejects" in str(delivery.health()[0].error))
    assert "not authori" in str(delivery.health()[0].error).lower()
    delivery.close()
    assert "guessed" not in capfd.readouterr().err


def test_tls_trusts_only_the_given_authority(certificate, start_broker):
    pem, key = certificate
    broker = start_broker(f"{ALLOWED}certfile {pem}\nkeyfile {key}\n")
    spec = address(broker).replace("mqtt:", "mqtts:")
    trusting = open_sinks([f"{spec}?ca={pem}"], LABELS)
    trusting.event(event())
    until(lambda: trusting.health()[0].written == 1)
    trusting.close(10)
    # In a separate process: paho leaves the socket of a failed handshake to garbage collection.
    with program(spec) as careful:
        line = ""
        while "verify failed" not in line:
            line = careful.stderr.readline()
            assert line
        careful.kill()
    with pytest.raises(ValueError, match="ca, cert or key"):
        open_sinks([f"{spec}?ca={key}"], LABELS)


# --------------------------------------------------------------------------------------- addresses


@pytest.mark.unit
def test_an_address_is_parsed():
    read = MqttAddress.parse("mqtts://anna:a%3Ab@[::1]/my%20house/?client_id=c&cert=x&key=y", {})
    assert read == MqttAddress(
        "::1",
        8883,
        "my house",
        True,
        "anna",
        "a:b",
        "my house",
        "c",
        "homeassistant",
        None,
        "x",
        "y",
    )
    assert read.shown == "mqtts://[::1]:8883/my house"
    plain = MqttAddress.parse("mqtt://Broker.local")
    assert (plain.host, plain.port) == ("broker.local", 1883)
    assert plain.prefix == f"ser-edge/{socket.gethostname()}"
    assert plain.client_id.startswith("ser-edge-ser-edge_")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("mqtt:///x", "names no host"),
        ("mqtt://host:123456/x", "host or port"),
        ("mqtt://host:port/x", "host or port"),
        ("mqtt://a..b/x", "host or port"),
        ("mqtt://:secret@host/x", "without a user"),
        ("mqtt://host/a/%23", "without wildcards"),
        ("mqtt://host/a//b", "without wildcards"),
        ("mqtt://host/a?password=secret", "option 'password', allowed: name, client_id"),
        ("mqtt://host/a?name=", "option name is empty"),
        ("mqtt://host/a?password_file=x", "needs a user"),
        ("mqtt://u@host/a?password_file=/nowhere/x", "/nowhere/x: No such file"),
        ("mqtt://host/a?ca=x", "need mqtts"),
        ("mqtts://host/a?key=x", "key needs cert"),
    ],
)
def test_a_wrong_address_is_rejected_without_its_password(text, cause):
    with pytest.raises(ValueError, match=cause) as caught:
        MqttAddress.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.unit
def test_different_names_have_different_identifiers():
    names = ["a/b", "a_b", "a b", "A/b", "ä/b", "厨房", "a-b", "a/b/"]
    made = [identifier(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(name.replace("_", "").replace("-", "").isalnum() and name.isascii() for name in made)


@pytest.mark.unit
def test_without_paho_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ValueError, match=r"pip install 'ser-edge\[mqtt\]'"):
        open_sinks(["mqtt://host/x"], LABELS)
