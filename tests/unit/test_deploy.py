"""What lies in deploy/: units, images and udev rule agree with the program and each other."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from edge_app.commands import make_parser

DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
PROGRAM = "/opt/ser-edge/bin/edge-app"


def settings(path: Path) -> dict[str, str]:
    """The last value of each key of a unit or an environment file."""
    pairs = re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE)
    return {key: value.strip('"') for key, value in pairs}


@pytest.mark.system
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_a_unit(unit, tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("there is no systemd-analyze (apt-get install systemd)")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(PROGRAM, str(shutil.which("true"))))
    done = subprocess.run([tool, "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [tool, "security", "--offline=yes", "--threshold=20", "--no-pager", copy],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def command_lines() -> dict[str, str]:
    """File -> arguments of edge-app in it."""
    lines = {}
    for unit in UNITS:
        command, variable = re.fullmatch(
            rf"{PROGRAM} (\w+) \$(\w+)", settings(unit)["ExecStart"]
        ).groups()
        lines[unit.name] = f"{command} {settings(DEPLOY / f'{command}.env')[variable]}"
    docker = (DEPLOY / "Dockerfile").read_text()
    words = re.search(r"^CMD \[(.*)\]$", docker, re.MULTILINE)[1]
    lines["Dockerfile"] = words.replace(",", "")
    words = re.search(
        r"^    command: \[(.*)\]$", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE
    )
    lines["compose.yaml"] = words[1].replace(",", "")
    return lines


@pytest.mark.parametrize(("where", "line"), command_lines().items(), ids=list(command_lines()))
def test_edge_app_has_the_options_of_each_file(where, line):
    assert make_parser().parse_args(shlex.split(line)).run is not None


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.train"])
def test_an_image_is_built_from_files_that_exist_and_are_not_ignored(name):
    docker = (DEPLOY / name).read_text()
    seen = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", docker, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in seen


def test_the_training_image_installs_extras_that_exist():
    docker = (DEPLOY / "Dockerfile.train").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r"EXTRAS=([\w,]+)", docker)
    assert len(named) == 2
    for extra in ",".join(named).split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
