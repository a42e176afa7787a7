"""``edge-app devices``: what OpenVINO can run a model on here, and what is missing."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Final

from edge_app.commands import EXIT_OK
from edge_app.inference import devices
from ser_edge.files import cache_folder

_DESCRIPTION: Final = """\
List the devices that OpenVINO finds and their precisions, and what to install for those that it
does not find.

examples:
  edge-app devices
  edge-app devices --json

Beside their names, -d takes AUTO (OpenVINO chooses), AUTO:NPU,CPU (among these), HETERO:GPU,CPU
(layers that the first does not support run on the second) and MULTI:GPU,CPU (all at once).
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    core, _ = devices.new_core()
    found, cache = devices.list_devices(core), cache_folder()
    if options.json:
        answer = {
            "openvino": devices.runtime_version(),
            "cache": None if cache is None else str(cache),
            "devices": [device.to_dict() for device in found],
        }
        print(json.dumps(answer, indent=2))
        return EXIT_OK
    width = max(len(device.name) for device in found)
    for device in found:
        if device.here:
            precisions = ", ".join(device.precisions) or "precisions unknown"
            print(f"{device.name:<{width}}  {device.full_name or 'ready'}  ({precisions})")
        else:
            indent = " " * (width + 2)
            text = f"not here: {device.missing}"
            print(
                textwrap.fill(
                    text,
                    100,
                    break_on_hyphens=False,
                    initial_indent=f"{device.name:<{width}}  ",
                    subsequent_indent=indent,
                )
            )
            print(f"{indent}OpenVINO says: {device.problem}")
    print(f"OpenVINO {devices.runtime_version()}, compiled models in {cache or 'no folder'}")
    return EXIT_OK
