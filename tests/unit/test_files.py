"""Files are there whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ser_edge.files import UNFINISHED, whole_file, write_whole


@pytest.mark.parametrize("content", ["ä\n", b"\x00\xff", ""])
def test_what_is_written_is_there_and_nothing_beside_it(tmp_path, content):
    path = tmp_path / "new" / "file"
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_where_writing_fails(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "before")

    def write() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_two_who_write_at_once_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as one, whole_file(path) as other:
        assert one != other
        assert {one.parent, other.parent} == {tmp_path}
        assert one.name.endswith(UNFINISHED)
        one.write_text("1")
        other.write_text("2")
    assert path.read_text() == "1"  # whoever ends last
    texts = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_whole(path, text), texts))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
