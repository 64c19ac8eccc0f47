"""Arrays beside a table: any of them come back, and the same ones are the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load

from atlas_pipeline.storage.attachments import Attachment, unpack

TYPES = [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint16, np.bool_]
ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
NAMED = st.dictionaries(st.text(min_size=1, max_size=6).filter(lambda name: name != "__metadata__"), ARRAYS, max_size=5)


def packed(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    Attachment(arrays, metadata).write_to(stream)
    return stream.getvalue()


METADATA = st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3)


@given(NAMED, METADATA, st.randoms())
def test_arrays_and_metadata_come_back_and_their_order_does_not_matter(arrays, metadata, random) -> None:
    content = packed(arrays, metadata)
    found, said = unpack(content)
    assert said == metadata
    assert found.keys() == arrays.keys() == load(content).keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
    names, words = list(arrays), list(metadata)
    random.shuffle(names)
    random.shuffle(words)
    assert packed({name: arrays[name] for name in names}, {word: metadata[word] for word in words}) == content


def test_views_are_packed_as_what_they_show() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    views = {"t": array.T, "s": array[::2, ::-1], "b": array.astype(">f4")}
    found, _ = unpack(packed(views, {}))
    for name, view in views.items():
        assert np.array_equal(found[name], view)


def test_a_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "a.safetensors").write_bytes(packed({"a": array}, {"k": "v"}))
    found, said = unpack(tmp_path / "a.safetensors")
    assert isinstance(found["a"].base, np.memmap)
    assert np.array_equal(found["a"], array)
    assert said == {"k": "v"}
