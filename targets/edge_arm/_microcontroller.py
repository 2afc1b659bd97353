"""The variant for microcontrollers: what TensorFlow Lite Micro runs, as a C array with its header."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.digests import digest_file
from manifests.manifest import FileSection
from targets._target import Finding, TargetError
from targets.edge_arm._resources import contents

if TYPE_CHECKING:
    from targets.edge_arm import Options
    from targets.edge_arm._graph import Graph, Operation

COMPILER = "arm-none-eabi-gcc"
SCHEMES = ("none", "int8", "int8-io", "int16x8", "auto")
"""Those whose kernels it has: it does not compute with float activations and int8 weights."""
_LISTED = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD
FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU
LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM
MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN
RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE
SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE
SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
KERNELS = frozenset(_LISTED.split())
"""The builtin operators that `MicroMutableOpResolver` can register (tensorflow/lite/micro, August 2026)."""
MICRO_ALIGNMENT = 16
_TENSOR, _NODE, _CHANNEL = 24, 256, 8
"""Bytes that TensorFlow Lite Micro keeps beside the arena's tensors, for each tensor, operation and channel: as
measured with pointers of 64 bits, so that it is enough for 32."""
_COLUMNS = 12
_MOST_JOINED = 10
_TRANSPOSE_RANK = 5
_GATHERED = ("float32", "int8")


def missing_kernels(graph: Graph) -> list[Finding]:
    """Every operation, here and in the graphs that are called, that TensorFlow Lite Micro has no kernel for."""
    graph.prune()
    outputs = {id(tensor): name for name, tensor in graph.outputs.items()}
    found = []
    for operation in graph.operations:
        reason = _reason(operation)
        if reason:
            node = operation.source or next(
                (outputs[id(tensor)] for tensor in operation.outputs if id(tensor) in outputs), operation.code
            )
            found.append(Finding(node=node, operator=operation.code, reason=f"TensorFlow Lite Micro {reason}"))
        for called in operation.graphs:
            found.extend(missing_kernels(called))
    return found


def _reason(operation: Operation) -> str:
    """Why it has no kernel; empty if it has one."""
    if operation.code not in KERNELS:
        return f"has no kernel for {operation.code}"
    if operation.code == "CONCATENATION" and len(operation.inputs) > _MOST_JOINED:
        return f"joins at most {_MOST_JOINED} tensors: got {len(operation.inputs)}"
    first = operation.inputs[0] if operation.inputs else None
    if operation.code == "TRANSPOSE" and first is not None and len(first.shape) > _TRANSPOSE_RANK:
        return f"transposes at most {_TRANSPOSE_RANK} axes: got {len(first.shape)}"
    if operation.code == "GATHER" and first is not None and first.dtype not in _GATHERED:
        return f"gathers no {first.dtype}"
    return ""


def check_scheme(options: Options) -> None:
    """Refuse a scheme that TensorFlow Lite Micro has no kernels for.

    Raises:
        TargetError: ``edge-arm.device``.
    """
    if options.quantize not in SCHEMES:
        raise TargetError(
            "edge-arm.device",
            f"TensorFlow Lite Micro has no kernels for quantize = '{options.quantize}'",
            hint=f"take one of {', '.join(SCHEMES)}",
        )


def arena(data: bytes) -> int:
    """Bytes of the static arena to begin with: planned tensors, and what the interpreter keeps beside them.

    Kernels with buffers of their own (CMSIS-NN's convolutions) want more; `arena_used_bytes` on the device says how
    much.
    """
    found = contents(data, MICRO_ALIGNMENT)
    kept = found.tensors * _TENSOR + len(found.operators) * _NODE + found.channels * _CHANNEL
    return -(-(found.arena + kept) // 1024) * 1024


def write_sources(data: bytes, out: Path) -> tuple[FileSection, ...]:
    """Write the file as a C array and its header, with the arena's size and the operators to register.

    Raises:
        TargetError: the compiler for microcontrollers is here and refuses them (``edge-arm.compile``).
    """
    (out / "model.h").write_text(_header(data))
    (out / "model.c").write_text(_source(data))
    compiled_size(out)
    return tuple(
        FileSection(
            path=path,
            role="other",
            digest=digest_file(out / path),
            size=(out / path).stat().st_size,
            media_type="text/x-c",
        )
        for path in ("model.c", "model.h")
    )


def _header(data: bytes) -> str:
    operators = sorted(set(contents(data).operators))
    listed = "".join(f" *   {operator}\n" for operator in operators)
    return (
        "#ifndef MODEL_H\n#define MODEL_H\n\n"
        "/* A model for TensorFlow Lite Micro, made by packtrain. Operators to register:\n"
        f"{listed} */\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        f"#define MODEL_SIZE {len(data)}u\n"
        f"#define MODEL_OPERATORS {len(operators)}u\n"
        "/* Bytes of the tensor arena to begin with; the interpreter's arena_used_bytes() says what is used. */\n"
        f"#define MODEL_ARENA_SIZE {arena(data)}u\n\n"
        "extern const unsigned char model_data[MODEL_SIZE];\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )


def _source(data: bytes) -> str:
    rows = (data[start : start + _COLUMNS] for start in range(0, len(data), _COLUMNS))
    body = ",\n".join("    " + ", ".join(f"0x{byte:02x}" for byte in row) for row in rows)
    head = f"_Alignas({MICRO_ALIGNMENT}) const unsigned char model_data[MODEL_SIZE]"
    return f'#include "model.h"\n\n{head} = {{\n{body}\n}};\n'


def compiled_size(folder: Path) -> int | None:
    """Bytes of read-only memory that the array takes when it is compiled for a Cortex-M; None without the compiler.

    Raises:
        TargetError: the compiler refuses it (``edge-arm.compile``).
    """
    compiler, size = shutil.which(COMPILER), shutil.which("arm-none-eabi-size")
    if compiler is None or size is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "model.o"
        flags = ["-mcpu=cortex-m4", "-mthumb", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Os"]
        done = subprocess.run(  # noqa: S603 - the compiler that the user has
            [compiler, *flags, "-c", folder / "model.c", "-o", made], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise TargetError("edge-arm.compile", f"{COMPILER} refuses the C array: {done.stderr.strip()[:400]}")
        listed = subprocess.run([size, made], check=True, capture_output=True, text=True)  # noqa: S603 - likewise
        text = listed.stdout.splitlines()[1].split()[0]
    return int(text)
