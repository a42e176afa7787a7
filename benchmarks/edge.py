#!/usr/bin/env python3
"""From a 48 kHz WAV to an emotion in a warm process: the edge app beside others, turn by turn.

All contestants run in this one process, on the same cores, each clip by each in turn, and what is
said is the median: warm, a turn right after another one of its own, and after a rest, as when clips
come now and then. Then where the edge app's time goes, beside what the arithmetic alone takes.
Run it on a quiet machine. Prints tables and writes benchmarks/edge-<threads>.json; with --into also
into a document.

  edge app           Classifier.predict: FP32 (made here from the weights), FP16 and INT8 as shipped
  student pipeline   librosa.load at 22,050 Hz, STFT in dB, 3 x 224 x 224, torchvision's
                     DenseNet-121 with 8 classes in eager PyTorch; random weights cost the same
  own net, PyTorch   librosa at 16 kHz, librosa's mel, our network in eager PyTorch
  own net, ONNX      ONNX Runtime, with librosa as before and with our front end

examples:
  python benchmarks/edge.py --threads 2 --into docs/results/speed.md
  python benchmarks/edge.py --threads 1 --sounds recordings-at-48-kHz/
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RATE = 48_000
SECONDS = (2.0, 5.0)
OURS = "edge app, FP16"
WARM_UP = 3  # clips
REST_SECONDS = 0.1  # before a turn after a rest: until threads of the one before stopped spinning
QUIET = 0.05  # share of the machine's processors that others may use meanwhile
STUDENT_RATE, STUDENT_FFT, STUDENT_HOP, STUDENT_SIDE = 22_050, 2048, 512, 224
PEAK_SIDE, PEAK_TURNS = 1536, 15


@dataclass(frozen=True)
class Times:
    """Milliseconds of one contestant or stage over all clips and rounds."""

    median: float
    tenth: float
    ninetieth: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        cuts = statistics.quantiles(seconds, n=10, method="inclusive")
        return cls(*(round(1e3 * s, 3) for s in (statistics.median(seconds), cuts[0], cuts[-1])))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1, help="cores for all (default: 1)")
    parser.add_argument("--clips", type=int, default=60, help="different clips (default: 60)")
    parser.add_argument("--rounds", type=int, default=3, help="times each clip (default: 3)")
    parser.add_argument(
        "--sounds", type=Path, help="folder of 48 kHz WAVs up to 5 s (default: made from samples/)"
    )
    parser.add_argument("--model", default="compact", help="in models/ and ir/ (default: compact)")
    parser.add_argument("--out", type=Path, help="(default: benchmarks/edge-<threads>.json)")
    parser.add_argument(
        "--into", type=Path, metavar="DOC", help="with <!-- speed-<threads>:begin --> and ...:end"
    )
    options = parser.parse_args()
    if min(options.threads, options.clips, options.rounds) < 1 or options.clips < 2:
        parser.error("threads and rounds should be 1 or more, clips 2 or more")
    try:
        keep_to(options.threads)
    except ValueError as error:
        parser.error(str(error))
    from ser_edge.files import write_whole
    from ser_edge.markdown.documents import check_document, write_into

    table = f"speed-{options.threads}"
    if options.into is not None:
        try:
            check_document(options.into, table)
        except ValueError as error:
            parser.error(str(error))
    busy = busy_share()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.sounds is None:
            clips = make_clips(folder, options.clips)
        else:
            clips = find_clips(options.sounds, options.clips)
        if len(clips) < options.clips:
            parser.error(f"{options.sounds}: {len(clips)} WAVs of 48 kHz up to 5 s, wanted: 60")
        result = measure(clips, folder, options)
    result["busy_before"] = round(busy, 3)
    result["quiet"] = busy < QUIET
    text = markdown(result)
    print(text)
    if not result["quiet"]:
        print(f"not quiet: {busy:.0%} of the processors were busy before it began", file=sys.stderr)
    out = options.out or Path(__file__).with_name(f"edge-{options.threads}.json")
    write_whole(out, json.dumps(result, indent=2) + "\n")
    if options.into is not None:
        write_into(options.into, table, text)
    return 0


def busy_share(seconds: float = 2.0) -> float:
    """Share of all processors' time that is used while this program waits (Linux; else 0).

    A load average would tell of the minutes before, of this program's own last run as well.
    """

    def times() -> tuple[float, float]:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        spent = [float(word) for word in words]
        return sum(spent), spent[3] + spent[4]  # idle, waiting for a disk

    try:
        whole, idle = times()
        time.sleep(seconds)
        later, idle_later = times()
    except (OSError, IndexError, ValueError):
        return 0.0
    return 1.0 - (idle_later - idle) / max(1.0, later - whole)


def keep_to(threads: int) -> None:
    """Keep this process to so many cores: before NumPy and the like start their threads.

    Raises
    ------
    ValueError
        There are not so many.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if threads > len(allowed):
            raise ValueError(f"threads are {threads}, allowed: 1 to {len(allowed)}")
        os.sched_setaffinity(0, allowed[-threads:])  # the first one serves most interrupts
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


# ------------------------------------------------------------------------------------- the clips


def make_clips(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """48 kHz WAVs of 2 to 5 s in 16 bits, from samples/: other pieces, speeds and levels."""
    import numpy as np
    import soundfile

    from ser_edge.audio import decode

    sounds = [decode.load(path, RATE) for path in sorted((ROOT / "samples").iterdir())]
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        sound = sounds[number % len(sounds)]
        length = round(rng.uniform(*SECONDS) * RATE)
        speed = rng.uniform(0.9, 1.1)
        at = rng.integers(len(sound)) + speed * np.arange(length)
        clip = np.interp(at, np.arange(len(sound)), sound, period=len(sound))
        clip *= rng.uniform(0.1, 0.9) / max(1e-9, float(np.abs(clip).max()))
        clips.append(folder / f"{number:03d}.wav")
        soundfile.write(clips[-1], clip, RATE, "PCM_16")
    return clips


def find_clips(folder: Path, count: int) -> list[Path]:
    """So many 48 kHz WAVs of up to 5 s below a folder, evenly chosen."""
    import soundfile

    from ser_edge.audio.files import files_below

    found = []
    for path in files_below(folder, {".wav"}):
        info = soundfile.info(path)
        if info.samplerate == RATE and 0 < info.duration <= SECONDS[1]:
            found.append(path)
    return [found[i * len(found) // count] for i in range(count)] if len(found) >= count else found


# ------------------------------------------------------------------------------- the contestants


@dataclass(frozen=True)
class Models:
    """The same network in every form: IRs by precision, ONNX, PyTorch."""

    irs: Mapping[str, Path]
    onnx: Path
    net: Any
    spec: Any
    calibration: Any
    labels: tuple[str, ...]


def make_models(name: str, folder: Path) -> Models:
    """What is shipped, and from its weights an ONNX and an IR in FP32."""
    from ser_edge.telemetry import without_telemetry

    with without_telemetry():
        import openvino

    from edge_app.inference.model_store import find_model
    from ser_edge.export.onnx import to_onnx
    from ser_edge.export.openvino import to_openvino
    from ser_edge.manifest import FP16, INT8, RT_INFO_KEY
    from ser_edge.runs.inference import load_net

    found = find_model(name, FP16)
    recipe, net = load_net(ROOT / "models" / name)
    onnx = folder / f"{name}.onnx"
    to_onnx(net, recipe.image.shape, onnx)
    model = to_openvino(onnx)
    manifest = replace(found.manifest, precision="FP32", bin_sha256="", xml_sha256="")
    for key, value in manifest.to_rt_info().items():
        model.set_rt_info(value, [RT_INFO_KEY, key])
    fp32 = folder / f"{name}.xml"
    openvino.save_model(model, fp32, compress_to_fp16=False)
    irs = {"FP32": fp32, FP16: found.xml, INT8: find_model(name, INT8).xml}
    told = found.manifest
    return Models(irs, onnx, net.eval(), told.spec, told.calibration, told.labels)


Hear = Callable[[Path], str]
Draw = Callable[[Path], Any]  # a WAV's path -> uint8 mel image


def contestants(models: Models, threads: int) -> dict[str, Hear]:
    """Name -> function of a WAV's path that gives an emotion."""
    heard: dict[str, Hear] = {
        f"edge app, {precision}": _edge_app(xml, threads) for precision, xml in models.irs.items()
    }
    heard["student pipeline (DenseNet-121, PyTorch)"] = _student(threads)
    heard["own net, PyTorch, librosa"] = _eager(models, threads)
    heard["own net, ONNX Runtime, librosa"] = _onnx(models, threads, _librosa_image(models.spec))
    heard["own net, ONNX Runtime, our front end"] = _onnx(models, threads, _our_image(models.spec))
    return heard


def _edge_app(xml: Path, threads: int) -> Hear:
    from edge_app import Classifier

    takes = inspect.signature(Classifier).parameters
    classifier = Classifier(xml, **({"threads": threads} if "threads" in takes else {}))
    return lambda path: classifier.predict(path).emotion


def _student(threads: int) -> Hear:
    import librosa
    import numpy as np
    import torch
    import torchvision

    from ser_edge.emotions import EMOTIONS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = torchvision.models.densenet121(num_classes=len(EMOTIONS)).eval()

    @torch.inference_mode()
    def hear(path: Path) -> str:
        sound, _ = librosa.load(path, sr=STUDENT_RATE)
        spectrum = np.abs(librosa.stft(sound, n_fft=STUDENT_FFT, hop_length=STUDENT_HOP))
        decibels = librosa.amplitude_to_db(spectrum, ref=np.max)
        picture = torch.from_numpy(decibels)[None, None].float() / 80 + 1
        side = (STUDENT_SIDE, STUDENT_SIDE)
        picture = torch.nn.functional.interpolate(picture, side, mode="bilinear")
        return EMOTIONS[int(net(picture.expand(-1, 3, -1, -1)).argmax())]

    return hear


def _eager(models: Models, threads: int) -> Hear:
    import torch

    from ser_edge.decision import decide

    torch.set_num_threads(threads)
    draw, net = _librosa_image(models.spec), models.net

    @torch.inference_mode()
    def hear(path: Path) -> str:
        logits = net(torch.from_numpy(draw(path))[None, None].float())[0].double().numpy()
        return decide(logits, models.calibration, models.labels).emotion

    return hear


def _onnx(models: Models, threads: int, draw: Draw) -> Hear:
    import onnxruntime

    from ser_edge.decision import decide
    from ser_edge.export.onnx import INPUT

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        models.onnx.read_bytes(), settings, providers=["CPUExecutionProvider"]
    )

    def hear(path: Path) -> str:
        logits = session.run(None, {INPUT: draw(path)[None, None]})[0][0]
        return decide(logits, models.calibration, models.labels).emotion

    return hear


def _our_image(spec: Any) -> Draw:
    from ser_edge.audio import decode
    from ser_edge.mel.image import mel_image

    return lambda path: mel_image(decode.load(path, spec.sample_rate)[: spec.window_samples], spec)


def _librosa_image(spec: Any) -> Draw:
    import librosa

    from ser_edge.mel.image import pad_window, quantize

    def draw(path: Path) -> Any:
        sound, _ = librosa.load(path, sr=spec.sample_rate)
        mel = librosa.feature.melspectrogram(
            y=pad_window(sound[: spec.window_samples], spec),
            sr=spec.sample_rate,
            n_fft=spec.n_fft,
            win_length=spec.win_length,
            hop_length=spec.hop_length,
            center=False,
            power=spec.power,
            n_mels=spec.n_mels,
            fmin=spec.f_min,
            fmax=spec.f_max,
            htk=spec.mel_scale == "htk",
        )
        return quantize(librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None), spec)

    return draw


# ----------------------------------------------------------------------------------- the stages


def stages(models: Models, threads: int) -> list[tuple[str, Callable[[Any], Any]]]:
    """The edge app's steps by themselves: each takes what the one of that name before it gave."""
    from ser_edge.audio import decode
    from ser_edge.audio.resample import as_mono
    from ser_edge.audio.windows import levels
    from ser_edge.decision import decide, pool, speech_weights
    from ser_edge.mel.image import mel_image

    spec = models.spec

    def decision(given: tuple[Any, Any]) -> str:
        waveform, logits = given
        weights = speech_weights([levels(waveform, spec.sample_rate)])
        return decide(pool([logits], weights), models.calibration, models.labels).emotion

    def resample(stored: Any) -> Any:
        return as_mono(stored.samples, stored.rate, spec.sample_rate)

    steps: list[tuple[str, Callable[[Any], Any]]] = [
        ("decode", lambda path: decode.load_stored(path)[0]),
        ("resample", resample),
        ("mel image", lambda waveform: mel_image(waveform[: spec.window_samples], spec)),
    ]
    for precision, xml in models.irs.items():
        steps.append((f"network, {precision}", _network(xml, spec, threads)))
    return [*steps, ("decision", decision)]


def _network(xml: Path, spec: Any, threads: int) -> Callable[[Any], Any]:
    from ser_edge.telemetry import without_telemetry

    with without_telemetry():
        import openvino

    core = openvino.Core()
    model = core.read_model(xml)
    model.reshape([1, 1, *spec.shape])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(image: Any) -> Any:  # as edge_app.inference.runtime does
        request.get_input_tensor(0).data[0, 0] = image
        request.infer()
        return request.get_output_tensor(0).data[0].copy()

    return run


def multiply_adds(models: Models) -> int:
    """Of the network's convolutions and matrices, for one image."""
    import torch
    from torch import nn

    total = 0

    def count(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            each = module.weight[0].numel()
            total += out[0].numel() * each
        elif isinstance(module, nn.Linear):
            total += out[0].numel() * module.in_features

    hooks = [module.register_forward_hook(count) for module in models.net.modules()]
    with torch.inference_mode():
        models.net(torch.zeros(1, 1, *models.spec.shape))
    for hook in hooks:
        hook.remove()
    return total


def mel_operations(spec: Any) -> int:
    """Floating-point operations of one mel image's transforms (2.5 n log2 n) and filters."""
    transform = 2.5 * spec.n_fft * (spec.n_fft.bit_length() - 1)
    return round(spec.frames * (transform + 2 * (spec.n_fft // 2 + 1) * spec.n_mels))


def peak_operations() -> float:
    """Floating-point operations a second of the best of some big float32 matrix products."""
    import numpy as np

    a = np.random.default_rng(0).standard_normal((PEAK_SIDE, PEAK_SIDE)).astype(np.float32)
    best = float("inf")
    for _ in range(PEAK_TURNS):
        begin = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - begin)
    return 2 * PEAK_SIDE**3 / best


# ------------------------------------------------------------------------------------ measuring


def measure(clips: Sequence[Path], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    from ser_edge.provenance import provenance

    models = make_models(options.model, folder)
    heard = contestants(models, options.threads)
    answers = {name: [hear(clip) for clip in clips] for name, hear in heard.items()}
    warm: dict[str, list[float]] = {name: [] for name in heard}
    rested: dict[str, list[float]] = {name: [] for name in heard}
    names, order = list(heard), random.Random(0)
    for _ in range(options.rounds):
        for number, clip in enumerate(clips):
            for name in order.sample(names, len(names)):  # nobody always runs after the same one
                time.sleep(REST_SECONDS)
                rested[name].append(_seconds(heard[name], clips[number - 1]))
                warm[name].append(_seconds(heard[name], clip))
    times = {name: Times.of(seconds) for name, seconds in warm.items()}
    after_rest = {name: Times.of(seconds) for name, seconds in rested.items()}
    parts = {name: Times.of(s) for name, s in _stage_times(clips, models, options).items()}
    peak, adds, mel = peak_operations(), multiply_adds(models), mel_operations(models.spec)
    flags = _processor_flags()
    return {
        "what": "from a 48 kHz WAV to an emotion, warm process, ms; interleaved; each turn warm, "
        "right after one of its own, and after a rest",
        "rest_seconds": REST_SECONDS,
        "threads": options.threads,
        "clips": len(clips),
        "rounds": options.rounds,
        "sounds": "made from samples/" if options.sounds is None else options.sounds.name,
        "contestants": {name: asdict(found) for name, found in times.items()},
        "times_ours": _times_ours(times),
        "after_rest": {name: asdict(found) for name, found in after_rest.items()},
        "times_ours_after_rest": _times_ours(after_rest),
        "same_emotion_as_ours": {
            name: sum(a == b for a, b in zip(answers[name], answers[OURS], strict=True))
            for name in names
        },
        "stages": {name: asdict(found) for name, found in parts.items()},
        "multiply_adds": adds,
        "mel_operations": mel,
        "peak_gflops": round(peak / 1e9, 1),
        "limit_ms": {
            "network": round(2e3 * adds / peak, 3),
            "mel image": round(1e3 * mel / peak, 3),
        },
        "int8_instructions": sorted(flags & {"avx512_vnni", "avx_vnni", "amx_int8"}),
        "versions": {
            name: version(name)
            for name in (
                "numpy", "openvino", "soundfile", "soxr", "onnxruntime", "torch", "torchvision",
                "librosa",
            )
        },
        "provenance": provenance(),
    }  # fmt: skip


def _seconds(hear: Hear, clip: Path) -> float:
    begin = time.perf_counter()
    hear(clip)
    return time.perf_counter() - begin


def _times_ours(times: Mapping[str, Times]) -> dict[str, float]:
    return {name: round(found.median / times[OURS].median, 2) for name, found in times.items()}


def _stage_times(
    clips: Iterable[Path], models: Models, options: argparse.Namespace
) -> dict[str, list[float]]:
    steps = stages(models, options.threads)
    taken: dict[str, list[float]] = {name: [] for name, _ in steps}
    order = list(clips)
    for clip in [*order[:WARM_UP], *order * options.rounds]:
        given: dict[str, Any] = {}
        for name, step in steps:
            if name == "decode":
                value: Any = clip
            elif name == "resample":
                value = given["decode"]
            elif name == "mel image":
                value = given["resample"]
            elif name == "decision":
                value = given["resample"], given["network, FP16"]
            else:
                value = given["mel image"]
            begin = time.perf_counter()
            given[name] = step(value)
            taken[name].append(time.perf_counter() - begin)
    return {name: seconds[WARM_UP:] for name, seconds in taken.items()}


def _processor_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].split(":", 1)[1].split()) if lines else set()


def markdown(result: Mapping[str, Any]) -> str:
    """Both tables, and what has to be said of them."""
    threads = result["threads"]
    instructions = ", ".join(result["int8_instructions"])
    lines = [
        f"{result['provenance']['machine']}, {threads} core{'s' if threads > 1 else ''} used; "
        f"{result['clips']} clips {result['sounds']}, {result['rounds']} rounds; revision "
        f"{result['provenance']['git_revision']}."
        + ("" if result["quiet"] else " **The machine was busy: these figures mean nothing.**"),
        "",
        _contestants(result),
        "",
        _stages(result),
        "",
        f"Arithmetic alone: {result['multiply_adds'] / 1e6:.1f} million multiply-adds of the "
        f"network, {result['mel_operations'] / 1e6:.1f} million operations of the mel image, at "
        f"{result['peak_gflops']:.0f} GFLOP/s, which a big float32 matrix product reaches here. "
        + (
            f"The processor has {instructions} for INT8."
            if instructions
            else "The processor has no VNNI: INT8 is computed with 16-bit multiplications."
        ),
    ]
    return "\n".join(lines)


def _contestants(result: Mapping[str, Any]) -> str:
    from ser_edge.markdown import table

    return table(
        (
            *("48 kHz WAV -> emotion", "median (ms)", "10 % to 90 % (ms)", "times ours (FP16)"),
            *("after a rest (ms)", "times ours", "same answer as ours"),
        ),
        [
            (
                name,
                f"{found['median']:.2f}",
                f"{found['tenth']:.2f} to {found['ninetieth']:.2f}",
                f"{result['times_ours'][name]:.2f}",
                f"{result['after_rest'][name]['median']:.2f}",
                f"{result['times_ours_after_rest'][name]:.2f}",
                f"{result['same_emotion_as_ours'][name]} of {result['clips']}",
            )
            for name, found in result["contestants"].items()
        ],
    )


def _stages(result: Mapping[str, Any]) -> str:
    from ser_edge.markdown import table

    limits = {name: result["limit_ms"].get(name.split(",")[0]) for name in result["stages"]}
    return table(
        ("stage of the edge app", "median (ms)", "arithmetic alone (ms)"),
        [
            (name, f"{found['median']:.2f}", "-" if (ms := limits[name]) is None else f"{ms:.2f}")
            for name, found in result["stages"].items()
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
