"""Devices: names, what is missing, hints, and what happens when one goes wrong.

GPU, NPU and MYRIAD are a stand-in that computes with the CPU (faultydevices.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES, speechlike
from edge_app import Classifier, DeviceError
from edge_app.cli import main
from edge_app.inference.devices import (
    Device,
    check_device,
    first_line,
    list_devices,
    new_core,
    parts_of,
)
from edge_app.inference.model_store import find_model
from edge_app.inference.runtime import Network
from faultydevices import NO_NPU, NO_OPENCL, NO_STICK, Core, Fault


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    drawn = random.integers(0, 256, (12, 80, 1), np.uint8) // np.ones((1, 1, 395), np.uint8)
    return list(drawn.astype(np.uint8))


@pytest.fixture(scope="module")
def expected(images) -> list[np.ndarray]:
    network = Network(find_model("compact"), "CPU", None)
    return [network.logits(image) for image in images]


@pytest.fixture
def long_sound(tmp_path):
    soundfile.write(tmp_path / "long.wav", speechlike(21.0, 16_000), 16_000)
    return tmp_path / "long.wav"


def network(device: str, **options: object) -> Network:
    return Network(find_model("compact"), device, None, **options)


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("asked", "name", "parts"),
    [
        ("CPU", "CPU", ("CPU",)),
        (" gpu.1 ", "GPU.1", ("GPU.1",)),
        ("MYRIAD.1.2-ma2480", "MYRIAD.1.2-MA2480", ("MYRIAD.1.2-MA2480",)),
        ("AUTO", "AUTO", ()),
        ("auto:npu,cpu", "AUTO:NPU,CPU", ("NPU", "CPU")),
        ("AUTO:-GPU", "AUTO:-GPU", ()),
        ("HETERO:GPU,CPU", "HETERO:GPU,CPU", ("GPU", "CPU")),
        ("MULTI:GPU.0,GPU.1", "MULTI:GPU.0,GPU.1", ("GPU.0", "GPU.1")),
    ],
)
def test_names_of_devices(asked, name, parts):
    assert check_device(asked, ["CPU"]) == name
    assert parts_of(name) == parts


@pytest.mark.parametrize(
    "asked",
    ["", "TOASTER", "CPU,GPU", "AUTO:", "AUTO:FOO", "HETERO", "MULTI", "MULTI:-GPU", "-CPU",
     "CPU:GPU", "HETERO:GPU,,CPU", "CPU\n", "AUTO:AUTO"],
)  # fmt: skip
def test_what_is_no_device_is_refused_with_what_is_allowed(asked):
    if asked == "CPU\n":  # white space around is nothing wrong
        assert check_device(asked, ["CPU"]) == "CPU"
        return
    with pytest.raises(DeviceError, match=r"allowed: CPU, .*MYRIAD, AUTO.*; devices here: CPU"):
        check_device(asked, ["CPU"])


def test_devices_of_other_makers_are_allowed_where_they_are_there():
    assert check_device("NVIDIA", ["CPU", "NVIDIA.0"]) == "NVIDIA"


@pytest.mark.parametrize(
    ("device", "words", "advice"),
    [
        ("GPU", NO_OPENCL, "intel-opencl-icd"),
        ("NPU", NO_NPU, "intel-level-zero-npu"),
        ("MYRIAD", NO_STICK, "2022.3.1 LTS archive"),
        ("HETERO:GPU,CPU", NO_OPENCL, "GPU is not here: install the OpenCL loader"),
    ],
)
def test_errors_of_a_bare_machine_say_what_to_install(faulty, capsys, device, words, advice):
    faulty(**{device: Fault(refuses=words, listed=False)})
    with pytest.raises(SystemExit) as ended:
        main(["predict", "-d", device, str(SAMPLES[0])])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"device '{device}' cannot run the model; devices here: CPU." in said
    assert advice in said
    assert first_line(RuntimeError(words)) in said


@pytest.mark.parametrize("device", ["GPU", "NPU", "MYRIAD", "HETERO:GPU,CPU"])
def test_the_runtime_of_this_machine_says_it_too(device):
    if device[:3] in {name[:3] for name in new_core()[0].available_devices}:
        pytest.skip(f"{device} is here")
    with pytest.raises(DeviceError, match=r"is not here: .*install"):
        network(device)


# ---------------------------------------------------------------------------------------- listing


def test_the_list_of_devices(faulty, capsys):
    faulty(
        GPU=Fault(),
        NPU=Fault(refuses=NO_NPU, listed=False),
        MYRIAD=Fault(refuses=NO_STICK, listed=False),
    )
    assert main(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["openvino", "cache", "devices"]
    by_name = {device["name"]: device for device in found["devices"]}
    assert list(by_name) == ["CPU", "GPU", "NPU", "MYRIAD"]
    assert by_name["CPU"]["here"]
    assert "FP32" in by_name["CPU"]["precisions"]
    assert by_name["GPU"]["full_name"] == "Stand-in GPU"
    assert by_name["GPU"]["precisions"] == ["FP32", "FP16", "INT8"]
    assert "WINOGRAD" in by_name["GPU"]["capabilities"]
    assert not by_name["NPU"]["here"]
    assert "VCL compiler loading failed" in by_name["NPU"]["problem"]
    assert "linux-npu-driver" in by_name["NPU"]["missing"]
    assert "not registered" in by_name["MYRIAD"]["problem"]
    assert main(["devices"]) == 0
    table = capsys.readouterr().out
    assert "GPU     Stand-in GPU  (FP32, FP16, INT8)" in table
    assert "MYRIAD  not here: the last OpenVINO" in table


def test_a_plug_in_that_says_nothing_of_itself(faulty):
    core = Core(new_core()[0], {"GPU": Fault(refuses="Unsupported key")})
    found = {device.name: device for device in list_devices(core)}
    assert found["GPU"] == Device("GPU", True)


# --------------------------------------------------------------------------------- how it is used


def test_hints_threads_and_precision_reach_openvino(faulty, images):
    gpu, auto = Fault(), Fault(runs_on=("CPU",))
    faulty(GPU=gpu, AUTO=auto)
    network("GPU", hint="throughput")
    assert gpu.settings == [{"PERFORMANCE_HINT": "THROUGHPUT"}]
    network("AUTO", threads=2)
    assert auto.settings == [
        {
            "PERFORMANCE_HINT": "LATENCY",
            "DEVICE_PROPERTIES": {
                "CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
            },
        }
    ]
    one = network("CPU", threads=1, hint="throughput")
    assert one.streams == 1
    assert one.computing == "f32"
    assert one._engine.compiled.get_property("INFERENCE_NUM_THREADS") == 1


@pytest.mark.parametrize(
    ("device", "how", "message"),
    [
        ("CPU", {"hint": "fast"}, "hint is 'fast', allowed: latency, throughput"),
        ("CPU", {"threads": 0}, "threads are 0, allowed: 1 or more"),
        ("GPU", {"threads": 2}, "threads are the CPU's, and the device is GPU"),
        ("CPU", {"fallback": "cpu"}, "the fallback of CPU is CPU: it should be another"),
    ],
)
def test_options_that_make_no_sense(faulty, device, how, message):
    faulty(GPU=Fault())
    with pytest.raises(ValueError, match=message):
        network(device, **how)


def test_an_answer_names_what_really_ran(faulty, long_sound):
    faulty(AUTO=Fault(runs_on=("(CPU)", "(CPU)", "(CPU)", "GPU")))
    classifier = Classifier(device="AUTO")
    answer = classifier.predict(long_sound)
    assert answer.device == "CPU,GPU"  # AUTO began on the CPU and moved on
    assert classifier.device == "GPU"
    assert classifier.predict(long_sound).device == "GPU"


def test_openvinos_own_auto_says_cpu_where_it_waits_for_another():
    """AUTO:NPU,CPU says (CPU), in brackets."""
    classifier = Classifier(device="AUTO:NPU,CPU")
    if "NPU" in new_core()[0].available_devices:
        pytest.skip("there is an NPU")
    assert classifier.predict(SAMPLES[0]).device == "CPU"


# ------------------------------------------------------------------------------ when it goes wrong


@pytest.mark.parametrize("how", ["nan", "inf"])
def test_scores_that_are_not_finite_name_device_and_precision(faulty, how):
    faulty(GPU=Fault(how=how, after=1))
    classifier = Classifier(device="GPU")
    classifier.predict(SAMPLES[0])
    with pytest.raises(DeviceError) as caught:
        classifier.predict(SAMPLES[0])
    assert str(caught.value) == (
        "GPU gave scores that are not finite (model in FP16, computed in f16); "
        "-d CPU or --fallback CPU may help"
    )


@pytest.mark.component
@pytest.mark.parametrize("how", ["nan", "begin", "middle", "hang"])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_fallback_takes_over_and_no_picture_is_lost(faulty, images, expected, caplog, how, after):
    gpu = Fault(how=how, after=after)
    faulty(GPU=gpu)
    found = network("GPU", fallback="CPU", patience=0.3)
    outputs = list(found.run(images))
    for output, logits in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output.logits, logits, atol=1e-5)
    assert [output.device for output in outputs[:after]] == ["GPU"] * after
    assert outputs[-1].device == found.device == "CPU"
    list(found.run(images))
    said = [record.getMessage() for record in caplog.records if record.name == "edge_app"]
    assert len(said) == 1  # once
    assert said[0].startswith("GPU ")
    assert said[0].endswith("; CPU takes over")


def test_a_fallback_for_a_device_that_is_not_there(faulty, capsys, long_sound):
    faulty(GPU=Fault(refuses=NO_OPENCL, listed=False))
    words = ["predict", "-d", "GPU", "--fallback", "cpu", "--format", "jsonl", str(long_sound)]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "CPU"


@pytest.mark.component
def test_it_is_said_once_on_standard_error(long_sound):
    """In a process of its own, where nobody has set up logging; GPU as this machine has it."""
    if any(name.startswith("MYRIAD") for name in new_core()[0].available_devices):
        pytest.skip("there is a stick")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from edge_app.cli import main; sys.exit(main())",
         "predict", "-d", "MYRIAD", "--fallback", "CPU", "--format", "jsonl",
         long_sound, SAMPLES[0]],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["device"] for line in done.stdout.splitlines()} == {"CPU"}
    assert done.stderr.count("CPU takes over") == 1
    assert len(done.stderr.splitlines()) == 1


def test_the_answer_names_both_where_the_fallback_came_midway(faulty, long_sound):
    faulty(GPU=Fault(how="nan", after=4))
    classifier = Classifier(device="GPU", fallback="CPU")
    assert classifier.predict(long_sound).device == "GPU,CPU"
    assert classifier.predict(long_sound).device == classifier.device == "CPU"


def test_both_fail(faulty, images):
    faulty(GPU=Fault(refuses=NO_OPENCL), NPU=Fault(refuses=NO_NPU))
    with pytest.raises(DeviceError, match=r"'GPU' cannot.*and its fallback: device 'NPU' cannot"):
        network("GPU", fallback="NPU")
    faulty(GPU=Fault(how="middle"), NPU=Fault(how="nan"))
    with pytest.raises(DeviceError, match="NPU gave scores that are not finite"):
        network("GPU", fallback="NPU").logits(images[0])


def test_a_device_that_hangs_is_waited_for_once(faulty, images):
    gpu = Fault(how="hang", after=2)
    faulty(GPU=gpu)
    found = network("GPU", patience=0.5)
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=r"GPU has not answered for 0\.5 s"):
        list(found.run(images))
    hung = time.monotonic() - begun
    assert hung >= 0.5
    for _ in range(20):  # 20 x 0.5 s if each waited again
        with pytest.raises(DeviceError, match="has not answered"):
            found.logits(images[0])
    gpu.released.set()


def test_a_failed_picture_leaves_the_device_usable(faulty, images, expected):
    faulty(GPU=Fault(how="middle", after=3, until=5))
    found = network("GPU")
    with pytest.raises(DeviceError, match="GPU failed: NC_ERROR: device lost"):
        list(found.run(images))
    for output, logits in zip(found.run(images), expected, strict=True):
        np.testing.assert_allclose(output.logits, logits, atol=1e-5)


# ---------------------------------------------------------------------------------- many at once


@pytest.mark.component
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_many_threads_ask_at_once(images, expected, hint):
    found = network("CPU", hint=hint)
    wrong: list[object] = []

    def ask(start: int) -> None:
        try:
            for turn in range(3):
                order = np.roll(np.arange(len(images)), start + turn)
                outputs = list(found.run(images[i] for i in order))
                for i, output in zip(order, outputs, strict=True):
                    np.testing.assert_allclose(output.logits, expected[i], atol=1e-5)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


@pytest.mark.component
def test_threads_may_be_the_first_to_ask():
    """OpenVINO's bindings hang where the first look at a tensor is taken by two threads at once."""
    code = (
        "import threading, numpy as np\n"
        "from edge_app.inference.model_store import find_model\n"
        "from edge_app.inference.runtime import Network\n"
        "network, start = Network(find_model('compact'), 'CPU', None), threading.Barrier(4)\n"
        "image = np.zeros((80, 395), np.uint8)\n"
        "sizes = []\n"
        "def ask(): start.wait(); sizes.append(network.logits(image).size)\n"
        "threads = [threading.Thread(target=ask) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(sizes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[8, 8, 8, 8]\n"


def test_one_who_stops_reading_gives_its_requests_back(images, expected):
    found = network("CPU")
    for _ in range(5):
        running = found.run(images)
        next(running)
        running.close()
    np.testing.assert_allclose(found.logits(images[0]), expected[0], atol=1e-5)


def test_no_more_pictures_are_taken_than_the_device_can_have(images):
    found, taken, read = network("CPU", hint="latency"), 0, 0

    def source():
        nonlocal taken
        for image in images:
            taken += 1
            assert taken - read <= max(2, found.streams) + 1
            yield image

    for _ in found.run(source()):
        read += 1
    assert read == len(images)


def test_images_are_decided_one_by_one(images):
    classifier = Classifier()
    decisions = classifier.predict_images(images[:3], [1.0, 0.0, 0.5])
    assert len(decisions) == 3
    assert set(decisions[1].scores) == {0.125}
    assert decisions[1].emotion == "unknown"
    assert decisions[0].scores == pytest.approx(classifier.predict_images(images[:1])[0].scores)
    with pytest.raises(ValueError, match=r"an image is float64 \(80, 395\), it should be uint8"):
        classifier.predict_images([images[0] / 2])
    with pytest.raises(ValueError, match="2 weights for 1 images"):
        classifier.predict_images(images[:1], [1, 1])
