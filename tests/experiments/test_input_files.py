"""Files that a user names, and what is no file."""

import json
import os

import pytest

from experiments.harness.records.input_files import harmless, read_text


def test_text_without_its_mark(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert json.loads(read_text(path)) == {"a": 1}
    (tmp_path / "link").symlink_to(path)
    assert read_text(tmp_path / "link") == read_text(path)


def test_what_has_no_end_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, type(tmp_path)("/dev/zero")):
        with pytest.raises(ValueError, match=f"{path}: not a regular file"):
            read_text(path)


def test_size_encoding_and_absence(tmp_path):
    path = tmp_path / "some.txt"
    with pytest.raises(ValueError, match=r"some.txt: No such file"):
        read_text(path)
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match=r"some.txt: not UTF-8 at byte 2"):
        read_text(path)
    with path.open("wb") as file:
        file.truncate(3 * 2**20)  # which takes no room on the disk
    with pytest.raises(ValueError, match=r"at most 2 MiB are read, got 3"):
        read_text(path, most=2**21)


def test_what_a_terminal_would_obey_is_spelled_out():
    assert harmless("a\x1b[31mb\x07\r\n\u202e\x9b") == r"a\x1b[31mb\x07\r\n\u202e\x9b"
    assert harmless("é – 漢\u3000字\u00a0±") == "é – 漢\u3000字\u00a0±"
    assert harmless("a\nb\x1bc\td", keep="\n\t") == "a\nb\\x1bc\td"
