"""What a fit runs on; nothing here needs torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """What a fit runs on.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu"}
        Lightning's.
    devices : str
        Number of processes (CPU) or of GPUs, or ``auto``: one process, or all GPUs. Under
        ``torchrun`` its number of processes counts.
    workers : int
        Processes a device that load clips; they lie in memory, so 0 is fine on a CPU.

    Raises
    ------
    ValueError
        If a value is not one of these.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    workers: int = 0

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "gpu"):
            raise ValueError(f"accelerator is {self.accelerator!r}, allowed: auto, cpu, gpu")
        if self.devices != "auto" and not (self.devices.isdecimal() and int(self.devices) >= 1):
            raise ValueError(f"devices is {self.devices!r}, allowed: auto, or 1 and more")
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}, allowed: 0 and more")


def add_hardware_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--accelerator``, ``--devices`` and ``--workers``."""
    group = parser.add_argument_group("hardware")
    group.add_argument("--accelerator", default="auto", metavar="auto|cpu|gpu")
    group.add_argument(
        "--devices", default="auto", metavar="N", help="GPUs, or processes on a CPU (default: auto)"
    )
    group.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="loader processes a device; 4 to 8 help a GPU (default: 0)",
    )


def hardware_of(options: argparse.Namespace) -> Hardware:
    """The hardware of a parsed command line."""
    return Hardware(options.accelerator, options.devices, options.workers)
