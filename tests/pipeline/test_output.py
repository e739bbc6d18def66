"""The file of an executed notebook appears whole, once, and under a name of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.pipeline.output import publish, publish_left_over, reserve, rewrite


def test_runs_that_last_at_the_same_time_get_different_names(tmp_path: Path) -> None:
    first, second = reserve(tmp_path / "runs", "job-120000"), reserve(tmp_path / "runs", "job-120000")

    assert [output.name for _, output in (first, second)] == ["job-120000.ipynb", "job-120000-2.ipynb"]
    assert first[0] != second[0]


def test_a_published_notebook_is_never_replaced(tmp_path: Path) -> None:
    part, output = reserve(tmp_path, "job-120000")
    rewrite(part, "first")
    publish(part, output)

    part, later = reserve(tmp_path, "job-120000")
    rewrite(part, "second")
    publish(part, later)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "job-120000.ipynb": "first",
        "job-120000-2.ipynb": "second",
    }


def test_a_reader_sees_nothing_before_the_end(tmp_path: Path) -> None:
    part, output = reserve(tmp_path, "job-120000")

    rewrite(part, "cells")

    assert part.read_text() == "cells"
    assert list(tmp_path.glob("[!.]*")) == []
    assert not output.exists()


def test_a_rewrite_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, output = reserve(tmp_path, "job-120000")
    rewrite(part, "whole")

    def write_half(self: Path, text: str, encoding: str) -> int:
        self.write_bytes(text.encode(encoding)[: len(text) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write_half)
        with pytest.raises(OSError, match="No space"):
            rewrite(part, "another")
    publish_left_over(part, output)

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("job-120000.ipynb", "whole")]


def test_publishing_what_is_published_does_nothing(tmp_path: Path) -> None:
    part, output = reserve(tmp_path, "job-120000")
    publish(part, output)

    publish_left_over(part, output)

    assert list(tmp_path.iterdir()) == [output]


FILLING_UP = """
import resource, sys
from pathlib import Path
from workbench.pipeline.output import rewrite
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
rewrite(Path(sys.argv[1]), "x" * 1000)
"""


def test_what_does_not_fit_on_the_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    part, _ = reserve(tmp_path, "job-120000")
    rewrite(part, "cells")

    done = subprocess.run([sys.executable, "-c", FILLING_UP, str(part)], capture_output=True, text=True, check=False)

    assert "OSError: [Errno 27]" in done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {part.name: "cells"}


def test_a_notebook_of_which_nothing_could_be_written_is_not_published(tmp_path: Path) -> None:
    part, output = reserve(tmp_path, "job-120000")

    publish_left_over(part, output)

    assert list(tmp_path.iterdir()) == []
