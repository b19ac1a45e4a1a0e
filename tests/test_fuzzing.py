"""The fuzzers that ``make fuzz`` starts work, with atheris and without it."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support import fuzzing

TARGETS = sorted(Path(__file__).parent.rglob("fuzz_*.py"))
NO_ATHERIS = "import sys; sys.modules['atheris'] = None; "


def start(target, *options, without=""):
    code = f"{without}import runpy, sys; sys.argv = {[str(target), *options]}"
    run = f"; runpy.run_path({str(target)!r}, run_name='__main__')"
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", code + run],
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", TARGETS, ids=lambda path: path.stem)
def test_a_fuzzer_runs_for_the_time_it_is_given(target):
    done = start(target, "-max_total_time=1", "-seed=7", without=NO_ATHERIS)
    assert done.returncode == 0, done.stderr
    assert "atheris not found" in done.stdout
    assert "no finding" in done.stdout


def test_there_are_fuzzers():
    assert TARGETS


def test_a_finding_is_kept_and_can_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "CRASHES", tmp_path)

    def once(data):
        assert b"\x00\x01" not in data

    with pytest.raises(AssertionError):
        fuzzing.mutate(once, 60, seed=1)
    (found,) = tmp_path.iterdir()
    with pytest.raises(AssertionError):
        once(found.read_bytes())


def test_a_seed_gives_the_same_inputs_again():
    first, again = ([], [])
    for seen in (first, again):
        rng = random.Random(3)
        for _ in range(300):
            seen.append(fuzzing.mutated(rng, seen[-20:]))
    assert first == again
    assert len(set(first)) > 250
    assert max(map(len, first)) <= fuzzing.LONGEST


@pytest.mark.parametrize("data", [b"", b"\xff" * 9, bytes(range(256)) * 4])
def test_values_are_taken_off_any_bytes(data):
    taken = fuzzing.Provider(data)
    for low, high in ((0, 0), (3, 9), (0, 4000), (-5, 5)):
        assert low <= taken.ConsumeIntInRange(low, high) <= high
    assert taken.ConsumeBool() in (True, False)
    assert taken.PickValueInList("abc") in "abc"
    assert len(taken.ConsumeBytes(4)) <= 4
    taken.ConsumeUnicodeNoSurrogates(8).encode()
