"""A Whisper model of some kilobytes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = (
    "<pad>", "", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
    "<|notimestamps|>", "<|startofprev|>", " A", " loud", " soft", " voice", " speaks", ".",
)  # fmt: skip
LOUD, SOFT = "A loud voice speaks.", "A soft voice speaks."


def make_whisper(folder: Path, endless: bool = False) -> Path:
    """A model for openvino-genai's WhisperPipeline that answers LOUD or SOFT.

    Its weights are a table of which token follows which. Only "loud" or "soft" depends on the
    audio.

    Parameters
    ----------
    folder : Path
        Is created.
    endless : bool
        It never ends by itself.
    """
    import openvino
    from openvino import opset13 as op
    from openvino_tokenizers import build_rwkv_tokenizer

    folder.mkdir(parents=True)
    ids = {word: number for number, word in enumerate(VOCABULARY)}
    count, width = len(VOCABULARY), 4
    # The encoder gives the largest value of the mel image, in every frame.
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
    states = op.parameter([-1, -1, width], np.float32)
    states.output(0).set_names({"encoder_hidden_states"})
    beam = op.parameter([-1], np.int32)
    beam.output(0).set_names({"beam_idx"})
    level = op.reduce_mean(states, op.constant([1, 2]), keep_dims=True)
    rows = [op.gather(op.constant(table), tokens, op.constant(0)) for table in (follows, by_sound)]
    logits = op.add(rows[0], op.multiply(rows[1], level))
    unused = op.convert(op.reduce_sum(beam, op.constant([0]), keep_dims=False), "f32")
    logits = op.add(logits, op.multiply(unused, op.constant(np.float32(0))))
    logits.output(0).set_names({"logits"})
    decoder = openvino.Model([logits], [tokens, states, beam], "decoder")
    openvino.save_model(decoder, folder / "openvino_decoder_model.xml")

    lines = [f"{number} {word!r} {len(word)}" for number, word in enumerate(VOCABULARY)]
    _, detokenizer = build_rwkv_tokenizer(lines)
    openvino.save_model(detokenizer, folder / "openvino_detokenizer.xml")
    configs: dict[str, dict[str, Any]] = {
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
    for name, values in configs.items():
        (folder / name).write_text(json.dumps(values))
    return folder
