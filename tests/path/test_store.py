"""Finished chunks in a folder."""

import numpy as np
import pytest

from penalize.errors import FileFormatError
from penalize.path.backends.store import read_chunk, store_chunk
from penalize.path.training.chunk import ChunkResult

CHUNK = ((0, 0), (0, 1))


def result(weights=None):
    return ChunkResult(*(np.array([0.1, np.nan]) for _ in range(4)), np.array([3, 4]), weights or {})


def test_a_chunk_comes_back_exactly(tmp_path):
    stored = result({"0.weight": np.ones((2, 3), np.float32), "0.count": np.array([1, 2])})
    assert read_chunk(tmp_path, CHUNK) is None
    store_chunk(tmp_path, CHUNK, stored)
    assert len(list(tmp_path.iterdir())) == 1
    read = read_chunk(tmp_path, CHUNK)
    for name in ("train_loss", "val_loss", "score", "zeros", "epochs"):
        np.testing.assert_array_equal(getattr(read, name), getattr(stored, name))
    assert list(read.weights) == list(stored.weights)
    for name, array in read.weights.items():
        np.testing.assert_array_equal(array, stored.weights[name])
        assert array.dtype == stored.weights[name].dtype
    assert read_chunk(tmp_path, CHUNK[:1]) is None


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_chunk_is_refused(content, tmp_path):
    store_chunk(tmp_path, CHUNK, result())
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match="this is no finished chunk of this path"):
        read_chunk(tmp_path, CHUNK)


def test_a_file_under_the_name_of_another_chunk_is_refused(tmp_path):
    store_chunk(tmp_path, CHUNK, result())
    (own,) = tmp_path.iterdir()
    content = own.read_bytes()
    own.unlink()
    store_chunk(tmp_path, CHUNK[:1], result())
    (other,) = tmp_path.iterdir()
    other.write_bytes(content)
    with pytest.raises(FileFormatError, match="other pairs of strengths and folds"):
        read_chunk(tmp_path, CHUNK[:1])
