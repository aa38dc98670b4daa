from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.plan.job_sizes import memory_mb, runtime_minutes, weight_bytes
from rule_blocks import rule_blocks, said

LLAMA_8B = 16_060_000_000
SIZES = st.integers(0, 10**12)


@pytest.fixture
def files(tmp_path):
    return [tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"]


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", 540_000_000), ("bfloat16", 270_000_000)]
)
def test_declared_parameters_come_first(files, dtype, expected):
    for file in files:
        file.write_bytes(b"12345")
    assert weight_bytes(0.135, dtype, files) == expected


def test_files_that_are_there_are_measured(files):
    files[0].write_bytes(b"12345")
    files[1].write_bytes(b"1234567")
    assert weight_bytes(None, "float32", files) == 12


def test_files_that_are_not_all_there_are_taken_to_be_as_large_as_hubs_make_them(files):
    files[0].write_bytes(b"12345")
    assert weight_bytes(None, "bfloat16", files) == 10_000_000_000


def test_memory_and_time_of_eight_billion_parameters():
    assert memory_mb(1, 2500, LLAMA_8B, 3) == 2500 + 48_180
    assert memory_mb(2, 2500, LLAMA_8B, 3) == 2 * (2500 + 48_180)
    assert runtime_minutes(1, 60, LLAMA_8B, 60) == 60 + 964
    assert memory_mb(1, 2000) == 2000
    assert runtime_minutes(3, 30) == 90


@given(size=SIZES, more=SIZES, attempt=st.integers(1, 5), copies=st.floats(0, 10))
def test_more_weights_and_further_attempts_never_ask_for_less(size, more, attempt, copies):
    for ask in (memory_mb, runtime_minutes):
        asked = ask(attempt, 10, size, copies)
        assert asked <= ask(attempt, 10, size + more, copies)
        assert asked < ask(attempt + 1, 10, size, copies)
        assert asked >= attempt * 10


def test_every_rule_asks_for_what_grows_and_says_whether_it_uses_a_gpu():
    blocks = rule_blocks()
    assert len(blocks) > 60
    for name, block in blocks.items():
        asked = said(block, "resources")
        if not re.fullmatch(r"\*\*small\(\d+\),", asked):
            assert re.fullmatch(r"\*\*on_[cg]pu\(\s*memory\(.+\), minutes\(.+\)\s*\),", asked), name
