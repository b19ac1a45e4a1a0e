"""Write the stand-in's model in another quantisation, by the package gguf.

Run: ``python tests/bench/requantise.py Q4_0 out.gguf`` after ``pip install gguf``. No such
file is to be had from a package registry, so it is made of the one that is: its 4-bit
blocks with an offset (Q4_1) become blocks without one (Q4_0), which loses more, or 8-bit
blocks (Q8_0), which lose next to nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
from gguf.quants import dequantize, quantize

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from kimikit.local.models import chat_model  # noqa: E402

FROM = gguf.GGMLQuantizationType.Q4_1
OURS = "GGUF.", "general.architecture"
"""Keys that the writer writes itself."""


def requantise(path: Path, kind: gguf.GGMLQuantizationType) -> int:
    """Write the file; return how many tensors are others."""
    reader = gguf.GGUFReader(str(chat_model().path))
    name = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(str(path), name)
    for field in reader.fields.values():
        if not field.name.startswith(OURS):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(
                field.name, field.contents(), field.types[0], sub_type=inner
            )
    changed = 0
    for tensor in reader.tensors:
        data, dtype = tensor.data, tensor.tensor_type
        if dtype == FROM:
            data, dtype = quantize(dequantize(data, dtype), kind), kind
            changed += 1
        writer.add_tensor(tensor.name, data, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return changed


if __name__ == "__main__":
    wanted = gguf.GGMLQuantizationType[sys.argv[1]]
    print(requantise(Path(sys.argv[2]), wanted), "tensors")
