"""Re-encodes the weights of a GGUF file, so that llama.cpp's fast matrix kernels apply to them."""

from __future__ import annotations

from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize

__all__ = ["requantize_to_q8"]

# The writer sets these itself.
_WRITTEN_BY_GGUF = ("general.architecture", "general.file_type")
_KEPT_AS_THEY_ARE = (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0)


def requantize_to_q8(source: Path, target: Path) -> None:
    """Write ``source`` to ``target`` with its matrices in Q8_0.

    llama.cpp has no fast matrix product for Q4_1 on x86. Q8_0 holds every 4-bit value with a small rounding
    difference, takes half as much again on disk and reads prompts about twice as fast.

    Args:
        source: an existing GGUF file of any quantization.
        target: the file to write; an existing one is overwritten.

    Raises:
        OSError: where a file cannot be read or written.
        ValueError: where ``source`` is not a GGUF file.
    """
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    try:
        _copy_metadata(reader, writer)
        writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
        for tensor in reader.tensors:
            # One-dimensional tensors (norms) are tiny, and llama.cpp wants them unquantized.
            if len(tensor.shape) < 2 or tensor.tensor_type in _KEPT_AS_THEY_ARE:
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
                continue
            values = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
            encoded = quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor.name, encoded, raw_dtype=GGMLQuantizationType.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for name, entry in reader.fields.items():
        if name.startswith("GGUF.") or name in _WRITTEN_BY_GGUF:
            continue
        kind = entry.types[0]
        inner = entry.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, entry.contents(), kind, sub_type=inner)
