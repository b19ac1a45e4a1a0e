"""Fuzz with atheris where it is installed, and by plain random mutation elsewhere.

Atheris follows which lines an input reaches. Its wheels lag behind new Pythons; there the
same targets get inputs mutated from others, without that guidance, but get them at all.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

CRASHES = Path(__file__).parents[2] / "artifacts" / "fuzz"
LONGEST = 4096
KEPT = 200


def watching(package: str) -> contextlib.AbstractContextManager[Any]:
    """Return a block in which imports of a package are made to report their lines."""
    if atheris is None:
        return contextlib.nullcontext()
    return atheris.instrument_imports(include=[package])


class Provider:
    """Takes values off bytes; the part of atheris's provider that targets use."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def _int(self, size: int) -> int:
        taken, self._data = self._data[-size:], self._data[:-size]
        return int.from_bytes(taken, "little")

    def ConsumeIntInRange(self, low: int, high: int) -> int:
        span = high - low + 1
        return low + self._int((span.bit_length() + 7) // 8) % span

    def ConsumeBool(self) -> bool:
        return bool(self._int(1) & 1)

    def PickValueInList(self, values: Sequence[Any]) -> Any:
        return values[self.ConsumeIntInRange(0, len(values) - 1)]

    def ConsumeBytes(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def ConsumeUnicodeNoSurrogates(self, count: int) -> str:
        codes = (self._int(3) % 0x110000 for _ in range(min(count, len(self._data))))
        return "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)


def provider(data: bytes) -> Any:
    """Return what takes values off bytes."""
    return Provider(data) if atheris is None else atheris.FuzzedDataProvider(data)


def mutated(rng: random.Random, known: Sequence[bytes]) -> bytes:
    """Return new bytes, or known ones with a few changes, or two of them spliced."""
    if not known or rng.random() < 0.2:
        return rng.randbytes(rng.choice([16, 64, 256, 1024, LONGEST]))
    data = bytearray(rng.choice(known))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                data[at:at] = rng.randbytes(rng.randint(1, 16))
            case 2:
                del data[at : at + rng.randint(1, 16)]
            case _:
                data[at:] = rng.choice(known)[at:]
    return bytes(data[:LONGEST])


def mutate(once: Callable[[bytes], None], seconds: float, seed: int) -> int:
    """Try mutated inputs for so many seconds; return how many.

    What raises is left in ``artifacts/fuzz`` and raises.
    """
    rng, known = random.Random(seed), deque[bytes](maxlen=KEPT)
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(rng, known)
        try:
            once(data)
        except Exception:
            CRASHES.mkdir(parents=True, exist_ok=True)
            (CRASHES / f"crash-{seed}-{tried}").write_bytes(data)
            raise
        tried += 1
        if rng.random() < 0.1:
            known.append(data)
    return tried


def main(once: Callable[[bytes], None]) -> None:
    """Fuzz as the command line says, or try the files that it names once each.

    ``-max_total_time=60`` seconds and ``-seed=7`` hold with and without atheris, whose
    other options are libFuzzer's.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("-max_total_time", type=float, default=60.0)
    parser.add_argument(
        "-seed", type=int, default=random.SystemRandom().getrandbits(31)
    )
    parser.add_argument("files", nargs="*", type=Path)
    known, others = parser.parse_known_args()
    name = Path(sys.argv[0]).name
    print(f"{name}: seed {known.seed}, atheris {'found' if atheris else 'not found'}")
    if known.files:
        for file in known.files:
            once(file.read_bytes())
        return
    if atheris is None:
        tried = mutate(once, known.max_total_time, known.seed)
        print(f"{name}: {tried} inputs, no finding")
        return
    CRASHES.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={known.max_total_time:.0f}", f"-seed={known.seed}"]
    places = ["-len_control=0", f"-artifact_prefix={CRASHES}/", f"-max_len={LONGEST}"]
    atheris.Setup([sys.argv[0], *limits, *places, *others], once)
    atheris.Fuzz()
