"""Events -> an MQTT broker, described for Home Assistant."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from edge_app.output.homeassistant import OFFLINE, ONLINE, discovery, identifier, nothing_yet
from edge_app.results import Event

PASSWORD_VARIABLE: Final = "SER_EDGE_MQTT_PASSWORD"
"""Environment variable with the password of the user whom an address names."""

_OPTIONS: Final = ("name", "client_id", "discovery", "password_file", "ca", "cert", "key")
_QOS: Final = 1  # at least once: each message is acknowledged by the broker
_KEEPALIVE: Final = 30  # seconds; a broker that fell silent is noticed after one and a half
_RECONNECT: Final = (1, 30)  # seconds between attempts to connect, at first and at most
_CONNECTING: Final = 0.5  # seconds that an event waits for the connection before it waits its turn
_ACKNOWLEDGING: Final = 5.0  # seconds that the broker has for one event
_LEAVING: Final = 0.5  # seconds that it has for the farewell


@dataclass(frozen=True)
class MqttAddress:
    """Where a broker is and what we are called there.

    ``mqtt://[user[:password]@]host[:port]/prefix[?option=value&...]``, ``mqtts://`` for TLS.
    Without a prefix it is ``ser-edge/<name of this computer>``. Options: ``name`` (of the device
    in Home Assistant), ``client_id``, ``discovery`` (Home Assistant's prefix, ``homeassistant``,
    or ``off``), ``password_file``, and for TLS ``ca`` (PEM of who signed the broker's certificate;
    else the system's), ``cert`` and ``key`` (our own).

    A password in the address can be read by everybody who may list processes. It is better kept
    in a file (``password_file``) or in the environment (:data:`PASSWORD_VARIABLE`).
    """

    host: str
    port: int
    prefix: str
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    name: str = ""
    client_id: str = ""
    discovery: str | None = "homeassistant"
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def shown(self) -> str:
        """The address as it may be shown: no user, no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}/{self.prefix}"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> MqttAddress:
        """Read an address.

        Raises
        ------
        ValueError
            It is none; the message holds no password.
        """
        parts = urlsplit(text)
        tls = parts.scheme == "mqtts"
        try:
            host, port = parts.hostname or "", parts.port
            host.encode("idna")
        except ValueError:  # UnicodeError is one
            raise ValueError("MQTT: the host or port of the address cannot be read") from None
        if not host:
            raise ValueError("MQTT: the address names no host: mqtt://[user@]host[:port]/prefix")
        options = _options(parts.query)
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if password is not None and user is None:
            raise ValueError(f"MQTT: a password for {host} without a user")
        if "password_file" in options:
            if user is None or password is not None:
                raise ValueError("MQTT: password_file goes with a user and no other password")
            password = _read_password(options["password_file"])
        elif user is not None and password is None:
            password = environment.get(PASSWORD_VARIABLE)
        prefix = unquote(parts.path).strip("/") or f"ser-edge/{socket.gethostname()}"
        _check_topic("prefix", prefix)
        announced = options.get("discovery", "homeassistant").strip("/")
        _check_topic("discovery", announced)
        if not tls and {"ca", "cert", "key"} & set(options):
            raise ValueError("MQTT: ca, cert and key are for mqtts://")
        if "key" in options and "cert" not in options:
            raise ValueError("MQTT: key goes with cert")
        return cls(
            host,
            port or (8883 if tls else 1883),
            prefix,
            tls,
            user,
            password,
            options.get("name") or prefix.replace("/", " "),
            options.get("client_id") or f"ser-edge-{identifier(prefix)}",
            None if announced == "off" else announced,
            options.get("ca"),
            options.get("cert"),
            options.get("key"),
        )


class Mqtt:
    """An MQTT broker as a sink (:class:`edge_app.output.delivery.EventSink`).

    Topics below the prefix: ``availability`` (retained, ``online`` or ``offline``, the latter also
    by last will), ``state`` (retained: the latest change of emotion), and ``window``, ``segment``
    or ``change`` with each event that was asked for. All but the first are JSON objects.

    One event is under way at a time, and is over when the broker has acknowledged it: so order is
    kept, and what a broker that went away may not have got is sent again by paho when it is back.

    Parameters
    ----------
    address : MqttAddress
    labels : sequence of str
        The model's, in their order.
    every : str
        The kind of events that was asked for.

    Raises
    ------
    ValueError
        paho-mqtt is missing, or files for TLS cannot be used.
    """

    def __init__(self, address: MqttAddress, labels: Sequence[str], every: str) -> None:
        self.name = address.shown
        self._address, self._labels, self._every = address, tuple(labels), every
        self._availability = f"{address.prefix}/availability"
        self._state_topic = f"{address.prefix}/state"
        self._state = json.dumps(nothing_yet(labels))
        self._changed = Condition()  # guards all that follows
        self._connected = self._closing = False
        self._problem: str | None = "not connected yet"
        self._acknowledged: set[int] = set()
        self._event: Event | None = None  # what is under way, and the numbers of its messages
        self._under_way: set[int] = set()
        self._greeting: set[int] = set()  # of those that a connection begins with; paho's thread's
        self._client = self._new_client()
        self._client.connect_async(address.host, address.port, keepalive=_KEEPALIVE)
        self._client.loop_start()

    @property
    def problem(self) -> str | None:
        """Why there is no connection; None where there is one."""
        with self._changed:
            return self._problem

    def event(self, event: Event) -> None:
        """Publish an event and wait until the broker has it.

        Raises
        ------
        OSError
            There is no connection, or no answer. Given the same event again, it waits on and does
            not publish it twice.
        """
        if event is not self._event:
            messages = self._messages(event)
            with self._changed:
                if not self._changed.wait_for(lambda: self._connected, _CONNECTING):
                    raise ConnectionError(self._problem)
                self._acknowledged.clear()
            if event.kind == "change":
                self._state = messages[-1][1]
            # Not inside the lock: paho calls _on_publish while it holds locks that it takes here.
            self._under_way = {self._publish(*message) for message in messages}
            self._event = event
        with self._changed:
            # No need to hold out where the connection is gone already: it will be sent again.
            self._changed.wait_for(
                lambda: self._under_way <= self._acknowledged or not self._connected,
                _ACKNOWLEDGING,
            )
            if not self._under_way <= self._acknowledged:
                raise ConnectionError(
                    self._problem or "the broker does not acknowledge what it is sent"
                )
            self._event = None

    def close(self) -> None:
        """Say that we are gone, and go."""
        with self._changed:
            connected = self._connected
            self._closing = True
        farewell = False
        if connected:
            mid = self._publish(self._availability, OFFLINE, True)
            with self._changed:
                farewell = self._changed.wait_for(lambda: mid in self._acknowledged, _LEAVING)
        self._client.disconnect()
        if farewell:  # else paho's thread may hang in the network; it ends with the program
            self._client.loop_stop()

    def _messages(self, event: Event) -> list[tuple[str, str, bool]]:
        """Topic, payload, retained."""
        payload = json.dumps(event.to_dict(), allow_nan=False)
        messages = []
        if event.kind == self._every:
            messages.append((f"{self._address.prefix}/{event.kind}", payload, False))
        if event.kind == "change":
            messages.append((self._state_topic, payload, True))
        return messages

    def _greetings(self) -> list[tuple[str, str, bool]]:
        """What a broker is told first; one that was started anew may have forgotten it."""
        address, messages = self._address, []
        if address.discovery is not None:
            node = f"ser_edge_{identifier(address.prefix)}"
            described = discovery(
                node,
                address.name,
                self._labels,
                self._state_topic,
                f"{address.prefix}/window" if self._every == "window" else self._state_topic,
                self._availability,
            )
            topic = f"{address.discovery}/device/{node}/config"
            messages.append((topic, json.dumps(described), True))
        messages.append((self._state_topic, self._state, True))
        messages.append((self._availability, ONLINE, True))
        return messages

    def _publish(self, topic: str, payload: str, retain: bool) -> int:
        return int(self._client.publish(topic, payload, qos=_QOS, retain=retain).mid)

    def _new_client(self) -> Any:
        address = self._address
        try:
            import paho.mqtt.client as paho
        except ImportError:
            raise ValueError(
                f"{address.shown} needs paho-mqtt: pip install 'ser-edge[mqtt]'"
            ) from None
        if hasattr(paho, "CallbackAPIVersion"):  # 2.0 or newer
            client: Any = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=address.client_id)
        else:
            client = paho.Client(client_id=address.client_id)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls:
            import ssl

            try:
                context = ssl.create_default_context(cafile=address.ca)
                if address.cert is not None:
                    context.load_cert_chain(address.cert, address.key)
                client.tls_set_context(context)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                raise ValueError(f"{address.shown}: ca, cert or key: {error}") from None
        client.will_set(self._availability, OFFLINE, qos=_QOS, retain=True)
        client.reconnect_delay_set(*_RECONNECT)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    # Called by paho in its thread. The last arguments differ between its versions 1 and 2.

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        if reason != 0:
            import paho.mqtt.client as paho

            text = paho.connack_string(reason) if isinstance(reason, int) else reason
            with self._changed:
                self._problem = f"the broker refuses: {text}"
            return
        # Those that were not acknowledged on the last connection are sent again by paho. Another
        # set for each would pile up where a broker cuts the connection every time.
        if not self._greeting:
            self._greeting = {self._publish(*message) for message in self._greetings()}
        with self._changed:
            self._connected, self._problem = True, None
            self._changed.notify_all()

    def _on_connect_fail(self, *_: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles it
        with self._changed:
            self._problem = f"it cannot be reached: {error}"

    def _on_disconnect(self, *_: Any) -> None:
        with self._changed:
            if self._connected:  # else it was refused, and that says more
                self._connected = False
                self._problem = None if self._closing else "the connection was lost"
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _data: Any, mid: int, *_: Any) -> None:
        self._greeting.discard(mid)
        with self._changed:
            self._acknowledged.add(mid)
            self._changed.notify_all()


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _OPTIONS:
            raise ValueError(
                f"MQTT: the address has an option {key!r}, allowed: {', '.join(_OPTIONS)}"
            )
        if key in found or not value:
            raise ValueError(f"MQTT: option {key} is empty or there twice")
        found[key] = value
    return found


def _read_password(path: str) -> str:
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"MQTT: password_file {path}: {reason}") from None


def _check_topic(what: str, topic: str) -> None:
    bad = any(character in topic for character in "+#\0") or topic.startswith("$")
    if bad or "//" in topic or not topic or len(topic.encode()) > 1000:
        raise ValueError(f"MQTT: {what} is {topic!r}, it must be a topic without wildcards")
