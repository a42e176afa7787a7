#!/usr/bin/env bash
# models/NAME -> ONNX -> OpenVINO IR FP16 and INT8 in ir/NAME, each step verified. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
exec "$python" scripts/export_ir.py "$@"
