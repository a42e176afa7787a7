"""The page in real Chromium: upload, drop, record, live with a fake microphone, keyboard, colours.

Chromium is taken from ``$CHROMIUM``, the path, or where playwright puts it.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from conftest import ROOT
from edge_app import Classifier
from edge_app.language.interpretation import Interpreter
from edge_app.language.llm_client import Endpoint
from edge_app.language.transcription import Transcription, TranscriptPart
from language_model import answers, completion, http, language_model
from ser_edge.audio import decode
from serving import CLIP, LONG, Running, serving

TOKEN = "a-token-of-20-letters"


@pytest.fixture(scope="module")
def server(classifier: Classifier) -> Iterator[Running]:
    with serving(classifier, live(), upload_bytes=2**20) as running:
        yield running


def live() -> Any:
    from edge_app.server.inference import make_live

    return make_live


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium whose microphone alternates four seconds of speech and two of silence."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra dev)")
    rate = 48_000
    sound = np.concatenate([decode.load(CLIP, rate), np.zeros(2 * rate, np.float32)])
    sound_file = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(sound_file, sound, rate, subtype="PCM_16")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(
                executable_path=found,
                args=[
                    "--no-sandbox",
                    "--use-fake-ui-for-media-stream",
                    "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-audio-capture={sound_file}",
                ],
            )
        except api.Error as error:
            pytest.skip(f"no Chromium that starts: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    """The page, which must neither write to the console nor load from elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    messages: list[str] = []
    fetched: list[str] = []
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.on("request", lambda request: fetched.append(request.url))
    visit(opened, server.url)
    yield opened
    context.close()
    # Chromium itself logs 4xx responses, which a test may cause.
    assert [line for line in messages if not line.startswith("Failed to load resource")] == []
    elsewhere = (server.url, server.ws, "blob:", "data:")
    assert [url for url in fetched if not url.startswith(elsewhere)] == []


def visit(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("html[data-loaded]")


def drop(page: Any, name: str, kind: str, content: bytes) -> None:
    """Drop a file on the page."""
    page.evaluate(
        """([name, type, text]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            if (name) dataTransfer.items.add(new File([bytes], name, { type }));
            for (const kind of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true }));
        }""",
        [name, kind, base64.b64encode(content).decode()],
    )


def until(page: Any, script: str, argument: Any = None) -> None:
    """Wait until a script is true; playwright's own wait needs eval, which the page forbids."""
    end = time.monotonic() + 120
    while not page.evaluate(script, argument):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def word(page: Any) -> str:
    return str(page.text_content("#word"))


def test_an_uploaded_sound_is_answered_drawn_and_saved(page, classifier):
    answer = {**classifier.predict(LONG).to_dict(), "file": LONG.name}
    page.set_input_files("#file", LONG)
    page.wait_for_selector("#mel-card:not([hidden])")
    assert word(page) == answer["emotion"]
    shown = page.locator("#bars .value").all_text_contents()
    wanted = [round(100 * score) for score in answer["scores"].values()]
    assert [int(re.sub(r"\D", "", text)) for text in shown] == wanted
    segments = answer["segments"]
    assert page.locator("#rows tr").count() == len(segments) >= 2
    assert page.locator("#chart .area").count() == len(answer["scores"])
    assert page.get_attribute("#chart", "aria-label").startswith("Scores over time")
    assert "man-long.ogg" in page.text_content("#say")  # read by screen readers
    with page.expect_download() as saved:
        page.click("[data-save=json]")
    assert saved.value.suggested_filename == "man-long.json"
    assert json.loads(Path(saved.value.path()).read_text()) == answer
    with page.expect_download() as saved:
        page.click("[data-save=audacity]")
    lines = Path(saved.value.path()).read_text().splitlines()
    assert len(lines) == len(segments)
    assert lines[0] == f"0.000000\t{segments[0]['end']:.6f}\t{segments[0]['emotion']}"
    with page.expect_download() as saved:
        page.click("[data-save=csv]")
    rows = Path(saved.value.path()).read_text().splitlines()
    assert rows[0].startswith("start,end,emotion,confidence,neutral,")
    assert len(rows) == 1 + len(segments)


def test_the_shown_mel_image_is_the_networks_input_and_can_be_dropped(page, server, classifier):
    image = server.send("/v1/image?start=0", CLIP.read_bytes()).body
    drop(page, "image.png", "image/png", image)
    page.wait_for_selector("#mel-card:not([hidden])")
    assert word(page) == classifier.predict(CLIP).emotion
    dark_share = page.evaluate(
        """() => { const canvas = document.querySelector("#mel");
          const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let n = 0; for (let i = 0; i < d.length; i += 4) n += d[i] + d[i+1] + d[i+2] < 380;
          return n / (d.length / 4); }"""
    )
    assert 0.02 < dark_share < 0.9  # something is drawn, and not everywhere


def test_annotations_arrive_after_the_answer_and_are_plain_text(browser, classifier):
    transcription = Transcription(
        (
            TranscriptPart(0.0, 2.0, "<b>Good</b> evening."),
            TranscriptPart(65.0, 66.0, "I said it twice."),
        ),
        "en",
        "w",
    )
    begun, go = threading.Event(), threading.Event()

    class Transcriber:
        name = "w"

        def transcribe(self, *_: Any) -> Transcription:
            begun.set()
            assert go.wait(60)
            return transcription

    behave = answers(http(completion("It is <i>calm</i>.\n\nPerhaps.")))
    with (
        language_model(behave) as model,
        serving(
            classifier, live(), Transcriber(), Interpreter(Endpoint(model.url, "small"))
        ) as server,
    ):
        page = browser.new_page()
        page.set_default_timeout(60_000)
        visit(page, server.url)
        assert "language model" in page.text_content(".lede")
        page.set_input_files("#file", CLIP)
        page.wait_for_selector("#mel-card:not([hidden])")
        assert begun.wait(60)
        assert word(page) == classifier.predict(CLIP).emotion  # while Whisper is at work
        assert page.get_attribute("#annotations", "aria-busy") == "true"
        go.set()
        page.wait_for_selector("#annotations:not([aria-busy])")
        lines = page.locator("#transcription-text p").all_text_contents()
        assert [re.sub(r"^[\d.:\s]+s?", "", line) for line in lines] == [
            part.text for part in transcription.parts
        ]
        assert page.locator("#interpretation-text p").all_text_contents() == [
            "It is <i>calm</i>.", "Perhaps.",
        ]  # fmt: skip
        assert page.locator("#annotations b, #annotations i").count() == 0
        assert "evening" in page.text_content("#say")
        page.close()


def test_missing_annotations_have_a_reason(browser, classifier):
    with language_model(answers(http(b"", "500 Oops"))) as model:
        interpreter = Interpreter(Endpoint(model.url, "small"))
        with serving(classifier, live(), None, interpreter) as server:
            page = browser.new_page()
            page.set_default_timeout(60_000)
            visit(page, server.url)
            page.set_input_files("#file", CLIP)
            page.wait_for_selector("#annotations:not([hidden]):not([aria-busy])")
            assert page.is_hidden("#transcription")  # this server has no Whisper
            assert (
                page.text_content("#interpretation-note") == "The language model: it failed (500)."
            )
            assert page.is_hidden("#alert")
            page.close()


def test_without_annotations_there_is_no_second_request(page):
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.set_input_files("#file", CLIP)
    page.wait_for_selector("#mel-card:not([hidden])")
    assert page.is_hidden("#annotations")
    assert not [url for url in sent if url.endswith("process_audio")]


def test_a_dropped_file_that_is_not_audio_is_an_error(page):
    drop(page, "notes.txt", "text/plain", b"hello")
    page.wait_for_selector("#alert:not([hidden])")
    assert "Notes.txt: it is text/plain, allowed: audio" in page.text_content("#alert")
    assert page.get_attribute("#alert", "role") == "alert"
    drop(page, "clip.flac", "audio/flac", CLIP.read_bytes())
    page.wait_for_selector("#mel-card:not([hidden])")
    assert page.is_hidden("#alert")
    drop(page, "", "", b"")
    page.wait_for_selector("#alert:not([hidden])")


def test_a_too_large_file_is_not_sent(page):
    drop(page, "large.wav", "audio/wav", bytes(2**20 + 1))
    page.wait_for_selector("#alert:not([hidden])")
    assert "allowed: up to 1.0" in page.text_content("#alert")


def test_the_page_works_by_keyboard(page):
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#tab-file")
    for key, panel in (("ArrowRight", "record"), ("End", "live"), ("ArrowRight", "file")):
        page.keyboard.press(key)
        assert page.is_visible(f"#panel-{panel}")
        assert page.evaluate("document.activeElement.id") == f"tab-{panel}"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files(LONG)
    page.wait_for_selector("#mel-card:not([hidden])")
    before = page.text_content("#mel-caption")
    page.focus("#rows tr:first-child button")
    page.keyboard.press("Enter")
    until(page, "(b) => document.querySelector('#mel-caption').textContent !== b", before)
    assert page.get_attribute("#rows tr:first-child", "aria-current") == "true"


def test_a_recording_is_sent_as_wav_and_answered(page):
    page.click("#tab-record")
    page.click("#record")
    until(page, "parseFloat(document.querySelector('#record-clock').textContent) > 1.5")
    page.click("#record")
    page.wait_for_selector("#mel-card:not([hidden])")
    with page.expect_download() as saved:
        page.click("#recording-save")
    sound, rate = soundfile.read(saved.value.path(), dtype="float32")
    assert soundfile.info(saved.value.path()).subtype == "PCM_16"
    assert sound.ndim == 1
    assert sound.size / rate > 1.5
    assert np.abs(sound).max() > 0.05  # the fake microphone's speech, not silence
    assert "recording.wav" in page.text_content("#source")
    assert page.is_visible("#player")


def test_live_sound_moves_bars_chart_and_image_and_ends_with_its_segments(page):
    page.click("#tab-live")
    page.click("#live")
    page.wait_for_selector("#chart .area", state="attached")
    until(page, "document.querySelectorAll('#chart .strip').length > 8")
    assert page.text_content("#live") == "Stop"
    assert page.locator("#bars [data-top]").count() == 1
    until(page, "document.querySelector('#result').dataset.emotion !== 'none'")
    page.click("#live")
    page.wait_for_selector("#rows tr")  # the open segment comes after the end
    with page.expect_download() as saved:
        page.click("[data-save=json]")
    segments = json.loads(Path(saved.value.path()).read_text())
    assert all(part["end"] > part["start"] >= 0 for part in segments)
    assert page.text_content("#live") == "Start listening"
    assert page.is_hidden("#alert")


def test_too_many_live_streams_are_reported(browser, classifier):
    with serving(classifier, live(), streams=0) as server:
        page = browser.new_page()
        visit(page, server.url)
        page.click("#tab-live")
        page.click("#live")
        page.wait_for_selector("#alert:not([hidden])")
        assert "All 0 live streams are in use" in page.text_content("#alert")
        assert page.text_content("#live") == "Start listening"
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(page, scheme):
    page.emulate_media(color_scheme=scheme)

    def is_dark() -> bool:
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", paper)[:3])) < 300

    assert is_dark() == (scheme == "dark")
    page.click("#theme")
    assert is_dark() != (scheme == "dark")
    page.reload()
    page.wait_for_selector("html[data-loaded]")
    assert is_dark() != (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_the_page_is_not_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.set_input_files("#file", CLIP)
    page.wait_for_selector("#mel-card:not([hidden])")
    for tab in ("record", "live", "file"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_reduced_motion_is_respected(page):
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(
        "getComputedStyle(document.querySelector('.fill')).transitionDuration"
    ) in (
        "0s",
        "none",
    )


def test_the_page_describes_the_model_and_its_limits(page):
    text = page.text_content(".about")
    for phrase in (
        "actors who played",
        "does not know how a person feels",
        "Not in hiring",
        "NC-SA",
    ):
        assert phrase in text


def test_the_token_comes_with_the_address_or_from_a_form(browser, classifier):
    with serving(classifier, live(), token=TOKEN) as server:
        page = browser.new_page()
        visit(page, server.url)
        assert page.is_visible("#sign-in")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#sign-in", state="hidden")
        page.set_input_files("#file", CLIP)
        page.wait_for_selector("#mel-card:not([hidden])")
        page.close()
        page = browser.new_page()
        visit(page, f"{server.url}#token={TOKEN}")
        assert page.is_hidden("#sign-in")
        assert TOKEN not in page.url  # kept out of bookmarks
        page.click("#tab-live")
        page.click("#live")
        page.wait_for_selector("#chart .strip", state="attached")
        page.close()


# ------------------------------------------------------------------------- colours, by arithmetic

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
# Machado, Oliveira & Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1.0; on linear RGB.
SEEN_BY = {
    "everybody": np.eye(3),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopes": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eyes: np.ndarray) -> np.ndarray:
    encoded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(eyes @ linear, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.unit
@pytest.mark.parametrize("who", SEEN_BY)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_emotions_are_distinguishable_by_colour(theme, who):
    css = (ROOT / "edge_app/server/web/style.css").read_text()
    block = css.split(":root {" if theme == "light" else ':root[data-theme="dark"] {')[1]
    block = block.split("}")[0]
    colours = {name: re.findall(rf"--{name}: (#[0-9a-f]{{6}})", block)[0] for name in EMOTIONS}
    seen = {name: lab(colour, SEEN_BY[who]) for name, colour in colours.items()}
    distances = {
        pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]]))
        for pair in itertools.combinations(EMOTIONS, 2)
    }
    nearest = min(distances, key=lambda pair: distances[pair])
    assert distances[nearest] >= 20, nearest
