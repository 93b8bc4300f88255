"""A run's files follow the volume of its rows, from one to ten."""

from __future__ import annotations

import pytest

from batch.delta.sizes import FILE_BYTES, FILES_MAX, output_files


@pytest.mark.parametrize(
    ("stored_bytes", "files"),
    [
        (0, 1),
        (FILE_BYTES, 1),
        (FILE_BYTES + 1, 2),
        (4 * FILE_BYTES, 4),
        (10 * FILE_BYTES, FILES_MAX),
        (2**40, FILES_MAX),
    ],
)
def test_files_follow_the_volume(stored_bytes: int, files: int) -> None:
    assert output_files(stored_bytes) == files
