"""Publishes events to an MQTT broker, with discovery for Home Assistant."""

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

from edge_app.output.homeassistant import OFFLINE, ONLINE, discovery, identifier, initial_state
from edge_app.results import Event

PASSWORD_VARIABLE: Final = "SER_EDGE_MQTT_PASSWORD"
"""Environment variable with the password of the user in an address."""

_OPTIONS: Final = ("name", "client_id", "discovery", "password_file", "ca", "cert", "key")
_QOS: Final = 1  # at least once: each message is acknowledged by the broker
_KEEPALIVE: Final = 30  # seconds; a silent broker is noticed after 1.5 times as long
_RECONNECT: Final = (1, 30)  # seconds between attempts to connect: first and longest delay
_CONNECT_SECONDS: Final = 0.5  # that an event waits for a connection before it is retried later
_ACKNOWLEDGE_SECONDS: Final = 5.0  # for the broker to acknowledge one event
_DISCONNECT_SECONDS: Final = 0.5  # for the broker to acknowledge "offline"


@dataclass(frozen=True)
class MqttAddress:
    """Address of a broker, with this client's topics and credentials.

    ``mqtt://[user[:password]@]host[:port]/prefix[?option=value&...]``, ``mqtts://`` for TLS.
    The default prefix is ``ser-edge/<host name>``. Options: ``name`` (of the device in Home
    Assistant), ``client_id``, ``discovery`` (Home Assistant's prefix, default ``homeassistant``,
    or ``off``), ``password_file``, and for TLS ``ca`` (PEM of the broker's certificate authority;
    default: the system's), ``cert`` and ``key`` (of this client).

    Everybody who may list processes can read a password in the address. A file
    (``password_file``) or the environment (:data:`PASSWORD_VARIABLE`) is safer.
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
        """The address without user and password, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}/{self.prefix}"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> MqttAddress:
        """Parse an address.

        Raises
        ------
        ValueError
            The address is wrong; the message contains no password.
        """
        parts = urlsplit(text)
        tls = parts.scheme == "mqtts"
        try:
            host, port = parts.hostname or "", parts.port
            host.encode("idna")
        except ValueError:  # UnicodeError is one
            raise ValueError("MQTT: the host or port of the address is invalid") from None
        if not host:
            raise ValueError("MQTT: the address names no host: mqtt://[user@]host[:port]/prefix")
        options = _options(parts.query)
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if password is not None and user is None:
            raise ValueError(f"MQTT: a password for {host} without a user")
        if "password_file" in options:
            if user is None or password is not None:
                raise ValueError("MQTT: password_file needs a user and no other password")
            password = _read_password(options["password_file"])
        elif user is not None and password is None:
            password = environment.get(PASSWORD_VARIABLE)
        prefix = unquote(parts.path).strip("/") or f"ser-edge/{socket.gethostname()}"
        _check_topic("prefix", prefix)
        discovery_prefix = options.get("discovery", "homeassistant").strip("/")
        _check_topic("discovery", discovery_prefix)
        if not tls and {"ca", "cert", "key"} & set(options):
            raise ValueError("MQTT: ca, cert and key need mqtts://")
        if "key" in options and "cert" not in options:
            raise ValueError("MQTT: key needs cert")
        return cls(
            host,
            port or (8883 if tls else 1883),
            prefix,
            tls,
            user,
            password,
            options.get("name") or prefix.replace("/", " "),
            options.get("client_id") or f"ser-edge-{identifier(prefix)}",
            None if discovery_prefix == "off" else discovery_prefix,
            options.get("ca"),
            options.get("cert"),
            options.get("key"),
        )


class Mqtt:
    """An MQTT broker as a sink (:class:`edge_app.output.delivery.EventSink`).

    Topics below the prefix: ``availability`` (retained, ``online`` or ``offline``, the latter also
    by last will), ``state`` (retained: the latest change of emotion), and ``window``, ``segment``
    or ``change`` with each requested event. All but the first are JSON objects.

    One event is in flight at a time, until the broker acknowledges it. This keeps the order, and
    paho sends unacknowledged messages again after a reconnection.

    Parameters
    ----------
    address : MqttAddress
    labels : sequence of str
        The model's, in their order.
    every : str
        The requested kind of events.

    Raises
    ------
    ValueError
        paho-mqtt is missing, or the files for TLS are unusable.
    """

    def __init__(self, address: MqttAddress, labels: Sequence[str], every: str) -> None:
        self.name = address.shown
        self._address, self._labels, self._every = address, tuple(labels), every
        self._availability = f"{address.prefix}/availability"
        self._state_topic = f"{address.prefix}/state"
        self._state = json.dumps(initial_state(labels))
        self._changed = Condition()  # guards the attributes below
        self._connected = self._closing = False
        self._problem: str | None = "not connected yet"
        self._acknowledged: set[int] = set()
        self._event: Event | None = None  # in flight, with the ids of its messages
        self._in_flight: set[int] = set()
        self._announcing: set[int] = set()  # ids of announcements; used by paho's thread alone
        self._client = self._new_client()
        self._client.connect_async(address.host, address.port, keepalive=_KEEPALIVE)
        self._client.loop_start()

    @property
    def problem(self) -> str | None:
        """Why there is no connection; None if there is one."""
        with self._changed:
            return self._problem

    def event(self, event: Event) -> None:
        """Publish an event and wait until the broker acknowledges it.

        Raises
        ------
        OSError
            There is no connection or no acknowledgement. When the same event is passed again, it
            is not published twice: this waits for the acknowledgement.
        """
        if event is not self._event:
            messages = self._messages(event)
            with self._changed:
                if not self._changed.wait_for(lambda: self._connected, _CONNECT_SECONDS):
                    raise ConnectionError(self._problem)
                self._acknowledged.clear()
            if event.kind == "change":
                self._state = messages[-1][1]
            # Not under the lock: paho calls _on_publish while it holds locks that publish() takes.
            self._in_flight = {self._publish(*message) for message in messages}
            self._event = event
        with self._changed:
            # Without a connection there is nothing to wait for: paho sends the messages again.
            self._changed.wait_for(
                lambda: self._in_flight <= self._acknowledged or not self._connected,
                _ACKNOWLEDGE_SECONDS,
            )
            if not self._in_flight <= self._acknowledged:
                raise ConnectionError(self._problem or "the broker does not acknowledge messages")
            self._event = None

    def close(self) -> None:
        """Publish ``offline`` and disconnect."""
        with self._changed:
            connected = self._connected
            self._closing = True
        acknowledged = False
        if connected:
            mid = self._publish(self._availability, OFFLINE, True)
            with self._changed:
                acknowledged = self._changed.wait_for(
                    lambda: mid in self._acknowledged, _DISCONNECT_SECONDS
                )
        self._client.disconnect()
        if acknowledged:  # otherwise paho's thread may hang; it ends with the process
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

    def _announcements(self) -> list[tuple[str, str, bool]]:
        """Messages after each connection: a restarted broker may have lost the retained ones."""
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
                self._problem = f"the broker rejects the connection: {text}"
            return
        # paho sends the announcements that were not acknowledged again; publishing them for each
        # connection would pile them up if the broker closes every connection.
        if not self._announcing:
            self._announcing = {self._publish(*message) for message in self._announcements()}
        with self._changed:
            self._connected, self._problem = True, None
            self._changed.notify_all()

    def _on_connect_fail(self, *_: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this in its except block
        with self._changed:
            self._problem = f"it is unreachable: {error}"

    def _on_disconnect(self, *_: Any) -> None:
        with self._changed:
            if self._connected:  # otherwise it was rejected, with a better message
                self._connected = False
                self._problem = None if self._closing else "the connection was lost"
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _data: Any, mid: int, *_: Any) -> None:
        self._announcing.discard(mid)
        with self._changed:
            self._acknowledged.add(mid)
            self._changed.notify_all()


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _OPTIONS:
            raise ValueError(f"MQTT: unknown option {key!r}, allowed: {', '.join(_OPTIONS)}")
        if key in found or not value:
            raise ValueError(f"MQTT: option {key} is empty or given twice")
        found[key] = value
    return found


def _read_password(path: str) -> str:
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"MQTT: password_file {path}: {reason}") from None


def _check_topic(what: str, topic: str) -> None:
    bad = any(character in topic for character in "+#\0") or topic.startswith("$")
    if bad or "//" in topic or not topic or len(topic.encode()) > 1000:
        raise ValueError(f"MQTT: {what} is {topic!r}, allowed: a topic without wildcards")
