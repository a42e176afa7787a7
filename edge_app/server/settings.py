"""Settings of a server: address, access control and limits."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field

MIN_TOKEN = 16
"""Minimum length of a token; 22 random characters of base64 are 128 bits."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address can be reached from this machine alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class ServerSettings:
    """Address, access control and limits of a server.

    Parameters
    ----------
    host : str
        Address or name to listen on. Any but loopback (the default) needs a token.
    token : str or None
        Token that clients must send; at least 16 characters.
    names : tuple of str
        Further host names of this machine. Requests to other names are rejected: otherwise a web
        site could let its own name resolve to this server (DNS rebinding).
    origins : tuple of str
        Origins of further pages, such as ``https://panel.local``, that may send requests.
    upload_bytes : int
        Maximum size of one upload.
    held_bytes : int
        Maximum memory for all uploads together; nothing is written to disk.
    sound_seconds : float
        Maximum duration of one file.
    at_once : int
        Maximum number of open requests with a file.
    per_client : int
        Maximum number of those from one address.
    workers : int
        Threads that decode and classify.
    streams : int
        Maximum number of open WebSockets.
    upload_seconds, stall_seconds : float
        Time limits for receiving a body, and for a gap within it.
    answer_seconds : float
        Time limit for an answer.
    transcribe_seconds : float
        Time limit for a transcription, waiting included.
    idle_seconds : float
        A stream that sends no audio for this long is closed.

    Raises
    ------
    ValueError
        A value is out of range or the token is missing; the message says what is allowed.
    """

    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    upload_bytes: int = 32 * 2**20
    held_bytes: int = 128 * 2**20
    sound_seconds: float = 600.0
    at_once: int = 16
    per_client: int = 12
    workers: int = 2
    streams: int = 4
    upload_seconds: float = 60.0
    stall_seconds: float = 10.0
    answer_seconds: float = 60.0
    transcribe_seconds: float = 30.0
    idle_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("upload_bytes", 1024, 2**31),
            ("held_bytes", 1024, 2**34),
            ("sound_seconds", 1, 4 * 3600),
            ("at_once", 1, 10_000),
            ("per_client", 1, 10_000),
            ("workers", 1, 64),
            ("streams", 0, 1000),
            ("upload_seconds", 0.1, 3600),
            ("stall_seconds", 0.1, 3600),
            ("answer_seconds", 0.1, 3600),
            ("transcribe_seconds", 0.1, 3600),
            ("idle_seconds", 0.1, 3600),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value!r}, allowed: {least} to {most}")
        if self.held_bytes < self.upload_bytes:
            raise ValueError(
                f"held_bytes is {self.held_bytes}, it should be at least upload_bytes "
                f"({self.upload_bytes})"
            )
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host is {self.host!r}, which others can reach: that needs a token "
                "(loopback, such as 127.0.0.1, needs none)"
            )
        if self.token is not None and not (
            len(self.token) >= MIN_TOKEN
            and self.token.isascii()
            and all(c.isalnum() or c in "-._~" for c in self.token)
        ):
            raise ValueError(
                f"the token should be at least {MIN_TOKEN} letters, digits, or any of - . _ ~"
            )

    def accepts_host(self, name: str) -> bool:
        """Whether a host name (the Host header without its port) belongs to this server."""
        if is_loopback(name) or name in (self.host.lower(), *map(str.lower, self.names)):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)  # an address cannot be abused for DNS rebinding
        except ValueError:
            own = socket.gethostname().lower()
            return name in (own, f"{own}.local", own.split(".")[0])
        return True
