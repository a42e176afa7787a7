"""What the tests of words need: a Whisper of some kilobytes, language models that misbehave."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = (
    "<pad>", "", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
    "<|notimestamps|>", "<|startofprev|>", " A", " loud", " soft", " voice", " speaks", ".",
)  # fmt: skip
LOUD, SOFT = "A loud voice speaks.", "A soft voice speaks."


def make_whisper(folder: Path, endless: bool = False) -> Path:
    """A model that openvino-genai's WhisperPipeline runs; it says LOUD or SOFT of what it hears.

    Its weights are a table: which word follows which. Only "loud" or "soft" hangs on the sound.

    Parameters
    ----------
    folder : Path
        Is made.
    endless : bool
        It never comes to an end by itself.
    """
    import openvino
    from openvino import opset13 as op
    from openvino_tokenizers import build_rwkv_tokenizer

    folder.mkdir(parents=True)
    ids = {word: number for number, word in enumerate(VOCABULARY)}
    count, width = len(VOCABULARY), 4
    # Its encoder says the loudest value of the picture, again and again.
    features = op.parameter([-1, 80, 3000], np.float32)
    features.output(0).set_names({"input_features"})
    batch = op.gather(op.shape_of(features), op.constant([0]), op.constant(0))
    loudest = op.reduce_max(features, op.constant([1, 2]), keep_dims=True)
    shape = op.concat([batch, op.constant([1500, width], dtype=np.int64)], 0)
    hidden = op.broadcast(loudest, shape)
    hidden.output(0).set_names({"last_hidden_state"})
    encoder = openvino.Model([hidden], [features], "encoder")
    openvino.save_model(encoder, folder / "openvino_encoder_model.xml")

    follows = np.full((count, count), -10, np.float32)
    chain = [*VOCABULARY[2:4], "<|transcribe|>", "<|notimestamps|>", " A"]
    end = " A" if endless else ""
    pairs = [*itertools.pairwise(chain), (" loud", " voice"), (" soft", " voice")]
    for word, after in [*pairs, (" voice", " speaks"), (" speaks", "."), (".", end)]:
        follows[ids[word], ids[after]] = 10
    follows[ids[" A"], ids[" soft"]] = 0
    follows[ids[" A"], ids[" loud"]] = -13
    by_sound = np.zeros((count, count), np.float32)
    by_sound[ids[" A"], ids[" loud"]] = 10
    tokens = op.parameter([-1, -1], np.int64)
    tokens.output(0).set_names({"input_ids"})
    heard = op.parameter([-1, -1, width], np.float32)
    heard.output(0).set_names({"encoder_hidden_states"})
    beam = op.parameter([-1], np.int32)
    beam.output(0).set_names({"beam_idx"})
    level = op.reduce_mean(heard, op.constant([1, 2]), keep_dims=True)
    rows = [op.gather(op.constant(table), tokens, op.constant(0)) for table in (follows, by_sound)]
    logits = op.add(rows[0], op.multiply(rows[1], level))
    unused = op.convert(op.reduce_sum(beam, op.constant([0]), keep_dims=False), "f32")
    logits = op.add(logits, op.multiply(unused, op.constant(np.float32(0))))
    logits.output(0).set_names({"logits"})
    decoder = openvino.Model([logits], [tokens, heard, beam], "decoder")
    openvino.save_model(decoder, folder / "openvino_decoder_model.xml")

    lines = [f"{number} {word!r} {len(word)}" for number, word in enumerate(VOCABULARY)]
    _, detokenizer = build_rwkv_tokenizer(lines)
    openvino.save_model(detokenizer, folder / "openvino_detokenizer.xml")
    said: dict[str, dict[str, Any]] = {
        "generation_config.json": {
            "decoder_start_token_id": ids["<|startoftranscript|>"],
            "eos_token_id": ids[""],
            "pad_token_id": ids[""],
            "no_timestamps_token_id": ids["<|notimestamps|>"],
            "prev_sot_token_id": ids["<|startofprev|>"],
            "is_multilingual": True,
            "lang_to_id": {word: ids[word] for word in ("<|en|>", "<|de|>")},
            "task_to_id": {
                "transcribe": ids["<|transcribe|>"],
                "translate": ids["<|translate|>"],
            },
            "begin_suppress_tokens": [],
            "suppress_tokens": [],
            "max_initial_timestamp_index": 50,
            "max_length": 448,
        },
        "config.json": {
            "model_type": "whisper",
            "decoder_layers": 1,
            "vocab_size": count,
            "num_mel_bins": 80,
            "max_source_positions": 1500,
            "max_target_positions": 448,
        },
        "preprocessor_config.json": {
            "feature_size": 80,
            "sampling_rate": 16_000,
            "hop_length": 160,
            "n_fft": 400,
            "chunk_length": 30,
            "n_samples": 480_000,
            "nb_max_frames": 3000,
        },
    }
    for name, values in said.items():
        (folder / name).write_text(json.dumps(values))
    return folder


# --------------------------------------------------------------------------------- language models

Behave = Callable[[socket.socket, threading.Event], None]
"""What a language model does with a connection once the question has come; Event: the test ends."""


def completion(text: object, **more: object) -> bytes:
    """A good answer's body."""
    message = {"role": "assistant", "content": text, **more}
    return json.dumps({"id": "1", "choices": [{"index": 0, "message": message}]}).encode()


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """An answer as it goes over the wire."""
    size = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {size}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def answers(content: bytes) -> Behave:
    """Sends this and closes."""

    def behave(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(content)

    return behave


def hangs(connection: socket.socket, over: threading.Event) -> None:
    """Never says a word."""
    over.wait(60)


def goes_on(first: bytes, piece: bytes, pause: float = 0.0) -> Behave:
    """Sends without an end."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(piece)
            if pause:
                time.sleep(pause)

    return behave


class LanguageModel:
    """A real server on a free port that keeps all that it was sent.

    Attributes
    ----------
    received : list of bytes
        Of each connection: head and body.
    asked : Semaphore
        Released for each question that has come.
    """

    def __init__(self, behave: Behave) -> None:
        self.received: list[bytes] = []
        self.asked = threading.Semaphore(0)
        self._behave = behave
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def question(self, number: int = -1) -> Any:
        """The JSON of a question."""
        return json.loads(self.received[number].partition(b"\r\n\r\n")[2])

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._speak, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _speak(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            heard = b""
            while not _whole(heard):
                piece = connection.recv(65536)
                if not piece:
                    break
                heard += piece
            self.received.append(heard)
            self.asked.release()
            self._behave(connection, self._over)


def _whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    ]
    return bool(end) and len(body) >= (lengths or [0])[0]


@contextlib.contextmanager
def language_model(behave: Behave) -> Iterator[LanguageModel]:
    """A language model that behaves so, closed at the end."""
    model = LanguageModel(behave)
    try:
        yield model
    finally:
        model.close()
