"""``edge-app devices``: what OpenVINO can run a model on here, and what is missing."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Final

from edge_app.commands.options import EXIT_OK, Commands
from edge_app.inference import devices
from edge_app.inference.runtime import cache_folder

_DESCRIPTION: Final = """\
List the devices that OpenVINO sees, with what they compute in, and say what to install for those
that it does not see.

examples:
  edge-app devices
  edge-app devices --json

Beside their names, -d takes AUTO (OpenVINO chooses), AUTO:NPU,CPU (of these), HETERO:GPU,CPU (what
the first cannot, the second does) and MULTI:GPU,CPU (all at once).
"""


def add(commands: Commands) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "devices",
        help="what a model can run on here, and what is missing for the rest",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
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
