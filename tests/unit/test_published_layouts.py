"""Corpora that could not be had here, made small in the layouts that are published, looked through
by ``scripts/data.py check`` and rendered; and the tables of docs/how-to/corpora.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from conftest import ROOT, SMALL, speechlike
from ser_edge.corpora import CORPORA, esd, listing
from ser_edge.data.render import read_index, render

SAVEE = [f"{code}01" for code in CORPORA["savee"].emotions]
EMODB = [f"{s}a01{code}{v}" for s in ("03", "08") for code in "WEAFNT" for v in "ab"]
ESD = {code: 350 * i + 1 for i, code in enumerate(CORPORA["esd"].emotions)}

# Corpus, folder's sound files, what else the archive holds, clips, speakers, what is left out.
LAYOUTS = [
    pytest.param(
        "savee", [f"AudioData/{s}/{c}.wav" for s in CORPORA["savee"].sexes for c in SAVEE],
        ["AudioData/Info.txt"], 28, 4, {}, id="savee, by speaker",
    ),
    pytest.param(
        "savee", [f"ALL/{s}_{c}.wav" for s in CORPORA["savee"].sexes for c in SAVEE],
        [], 28, 4, {}, id="savee, flat",
    ),
    pytest.param(
        "emodb", [f"wav/{name}.wav" for name in [*EMODB, "03a02Lb", "08b10La", "16a05Lc"]],
        ["erkennung.txt", "lablaut/03a01Fa.lablaut", "silb/03a01Fa.silb"], 24, 2,
        {"boredom": 3}, id="emodb",
    ),
    pytest.param(
        "esd",
        [f"ESD/{s}/{e}/{part}/{s}_{n + i:06d}.wav" for s in ("0001", "0011")
         for e, n in ESD.items() for i, part in enumerate(("evaluation", "test", "train"))],
        ["ESD/ReadMe.txt", "ESD/0001/0001.txt", "ESD/0011/0011.txt"], 30, 2, {}, id="esd, parts",
    ),
    pytest.param(
        "esd",
        [f"Emotion Speech Dataset/{s}/{e}/{s}_{n:06d}.wav" for s in ("0010", "0020")
         for e, n in ESD.items()],
        ["Emotion Speech Dataset/0010/0010.txt"], 10, 2, {}, id="esd, without parts",
    ),
]  # fmt: skip


def make(root: Path, sounds: list[str], others: list[str]) -> Path:
    """Sounds, each its own, what else is in the archive, and what macOS leaves in one."""
    for number, name in enumerate(sounds):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speechlike(0.3, 16_000, number), 16_000)
    hidden = [str(Path("__MACOSX", name).with_name(f"._{Path(name).name}")) for name in sounds[:3]]
    for name in (*others, *hidden, ".DS_Store"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0\5\26\7")
    return root


@pytest.mark.component
@pytest.mark.parametrize(("corpus", "sounds", "others", "clips", "speakers", "left_out"), LAYOUTS)
def test_a_published_layout(here, tmp_path, corpus, sounds, others, clips, speakers, left_out):
    root = make(tmp_path / "in", sounds, others)
    done = here("data.py", "check", root, "--corpus", corpus, "--json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["clips"] == clips
    assert len(found["speakers"]) == speakers
    assert found["rates"] == {"16000": clips}
    assert found["unreadable"] == {}
    assert found["silent"] == found["duplicates"] == []
    assert len(found["left_out"]) == sum(left_out.values())
    scan = CORPORA[corpus].scan(root)
    assert dict(scan.other_emotions) == left_out
    # Every emotion of the corpus by every speaker, and none besides.
    emotions = set(CORPORA[corpus].emotions.values())
    for counts in found["speakers"].values():
        assert counts.keys() == emotions
        assert all(counts.values())
    render(scan.utterances, tmp_path / "out", SMALL, workers=1, progress=False)
    _, rows = read_index(tmp_path / "out")
    assert len({row.utterance for row in rows}) == clips


def test_the_numbers_of_esd_are_all_of_its_clips():
    found = CORPORA["esd"]
    assert found.speakers * esd.SENTENCES * len(found.emotions) == found.clips


def test_a_clone_without_its_large_files_is_told_so(here, tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "1001_IEO_ANG_HI.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 80044\n"
    )
    done = here("data.py", "check", tmp_path, "--corpus", "crema-d", "--quiet")
    assert done.returncode == 1
    assert "it is a pointer of Git LFS, not the sound; `git lfs pull` fetches that" in done.stdout


def test_check_says_how_many_are_published(here, tmp_path):
    make(tmp_path, ["DC_a01.wav"], [])
    done = here("data.py", "check", tmp_path, "--corpus", "savee", "--quiet")
    assert "1 clips, 1 speakers, 1 emotions (480 clips are published)" in done.stdout


def test_the_table_of_the_document_is_that_of_the_adapters(here, tmp_path):
    document = tmp_path / "corpora.md"
    document.write_text((ROOT / "docs" / "how-to" / "corpora.md").read_text())
    done = here("data.py", "list", "--into", document)
    assert done.returncode == 0
    assert document.read_text() == (ROOT / "docs" / "how-to" / "corpora.md").read_text()
    rows = listing.markdown_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [n for n, c in CORPORA.items() if c.clips]
    emodb = next(row for row in rows if "`emodb`" in row)
    assert "boredom (`L`)" in emodb
    assert "angry `W`" in emodb
    assert "| 535 | 10 |" in emodb


def test_a_document_without_a_place_for_the_table(here, tmp_path):
    (tmp_path / "none.md").write_text("# nothing\n")
    done = here("data.py", "list", "--into", tmp_path / "none.md")
    assert done.returncode == 2
    assert "it should have one <!-- corpora:begin -->" in done.stderr
