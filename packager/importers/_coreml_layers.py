"""Layers of Core ML's old neural networks as tensor operators, by the comments of Apple's NeuralNetwork.proto.

Every value is of (N, C, H, W): the mapping of arrays to five axes with the sequence left out, as models before
Core ML 3 have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from packager.importers._graph import Sink

    Layer: TypeAlias = Any
    """A message of coremltools' generated code, which has no types."""
    Write: TypeAlias = Callable[["Sink", "Layer", "list[str]"], str]

_BYTE = 8
_AXES = {"C": 1, "H": 2, "W": 3}


def weights_of(parameters: Layer, shape: Sequence[int]) -> NDArray[np.float32]:
    """The numbers of a WeightParams.

    Raises:
        ConversionError: they are quantized to fewer than 8 bits, or there are not as many as the shape has.
    """
    import numpy as np

    count = int(np.prod(shape))
    if len(parameters.float16Value):
        values = np.frombuffer(parameters.float16Value, dtype=np.float16).astype(np.float32)
    elif len(parameters.rawValue):
        values = _dequantized(parameters, shape)
    else:
        values = np.array(parameters.floatValue, dtype=np.float32)
    if values.size != count:
        raise ConversionError("import.coreml_nn", f"a layer has {values.size} weights: expected {count}")
    return values.reshape([int(size) for size in shape])


def _dequantized(parameters: Layer, shape: Sequence[int]) -> NDArray[np.float32]:
    import numpy as np

    quantization = parameters.quantization
    if quantization.numberOfBits != _BYTE:
        raise ConversionError(
            "import.coreml_nn", f"weights of {quantization.numberOfBits} bits can't be imported: expected 8, 16 or 32"
        )
    stored = np.frombuffer(parameters.rawValue, dtype=np.uint8)
    if quantization.WhichOneof("QuantizationType") == "lookupTableQuantization":
        table = np.array(quantization.lookupTableQuantization.floatValue, dtype=np.float32)
        if stored.size and int(stored.max()) >= table.size:
            raise ConversionError("import.coreml_nn", "weights point past their table")
        return table[stored]
    linear = quantization.linearQuantization
    scale, bias = (np.array(values, dtype=np.float32).reshape(-1, 1) for values in (linear.scale, linear.bias))
    rows = stored.reshape(int(shape[0]), -1).astype(np.float32)
    if scale.size not in {1, len(rows)}:
        raise ConversionError("import.coreml_nn", f"weights have {scale.size} scales: expected {len(rows)}")
    return rows * scale + (bias if bias.size else 0)


def _scalar(sink: Sink, value: float) -> str:
    import numpy as np

    return sink.constant(np.array(value, dtype=np.float32))


def _integers(sink: Sink, values: Sequence[int]) -> str:
    import numpy as np

    return sink.constant(np.array(values, dtype=np.int64))


def _pads(amounts: Layer) -> list[int]:
    edges = [(int(edge.startEdgeSize), int(edge.endEdgeSize)) for edge in amounts.borderAmounts] or [(0, 0), (0, 0)]
    return [edges[0][0], edges[1][0], edges[0][1], edges[1][1]]


def _padding(layer: Layer) -> dict[str, str | list[int]]:
    if layer.WhichOneof(_padding_name(layer)) == "same":
        return {"auto_pad": "SAME_LOWER" if layer.same.asymmetryMode else "SAME_UPPER"}
    return {"pads": _pads(layer.valid.paddingAmounts)}


def _padding_name(layer: Layer) -> str:
    known = layer.DESCRIPTOR.oneofs_by_name
    return next(name for name in ("ConvolutionPaddingType", "PoolingPaddingType") if name in known)


def convolution(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """A convolution, or its transposition."""
    kernel = [int(size) for size in layer.kernelSize] or [3, 3]
    groups = int(layer.nGroups) or 1
    outputs, channels = int(layer.outputChannels), int(layer.kernelChannels)
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [int(step) for step in layer.stride] or [1, 1],
        "dilations": [int(step) for step in layer.dilationFactor] or [1, 1],
        "group": groups,
        **_padding(layer),
    }
    shape = [channels, outputs // groups, *kernel] if layer.isDeconvolution else [outputs, channels, *kernel]
    arguments = [inputs[0], sink.constant(weights_of(layer.weights, shape))]
    if layer.hasBias:
        arguments.append(sink.constant(weights_of(layer.bias, [outputs])))
    if not layer.isDeconvolution:
        return sink.add("Conv", arguments, attributes)
    if "auto_pad" in attributes or layer.outputShape:
        raise ConversionError("import.coreml_nn", "a deconvolution with 'same' padding or an output shape")
    return sink.add("ConvTranspose", arguments, attributes)


def pooling(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """The largest, the mean or the root of the squares of a window."""
    kind = ("MaxPool", "AveragePool", "LpPool")[layer.type]
    if layer.globalPooling:
        return sink.add(f"Global{kind}", inputs)
    attributes: dict[str, Any] = {
        "kernel_shape": [int(size) for size in layer.kernelSize] or [3, 3],
        "strides": [int(step) for step in layer.stride] or [1, 1],
    }
    if layer.WhichOneof("PoolingPaddingType") == "includeLastPixel":
        amounts = [int(size) for size in layer.includeLastPixel.paddingAmounts] or [0, 0]
        attributes.update(pads=[*amounts, *amounts], ceil_mode=1)
    else:
        attributes.update(_padding(layer))
    if kind == "AveragePool":
        attributes["count_include_pad"] = 0 if layer.avgPoolExcludePadding else 1
    return sink.add(kind, inputs, attributes)


def activation(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """One of thirteen functions."""
    kind = layer.WhichOneof("NonlinearityType")
    of = getattr(layer, kind)
    (source,) = inputs
    if kind in _PLAIN:
        return sink.add(_PLAIN[kind], [source])
    if kind in _WITH_ALPHA:
        attributes = {name: getattr(of, name) for name in ("alpha", "beta") if hasattr(of, name)}
        return sink.add(_WITH_ALPHA[kind], [source], attributes)
    if kind == "thresholdedReLU":
        kept = sink.add("GreaterOrEqual", [source, _scalar(sink, of.alpha)])
        return sink.add("Where", [kept, source, _scalar(sink, 0)])
    if kind == "PReLU":
        return sink.add("PRelu", [source, sink.constant(_by_channel(of.alpha))])
    if kind == "linear":
        return sink.add("Add", [sink.add("Mul", [source, _scalar(sink, of.alpha)]), _scalar(sink, of.beta)])
    if kind == "scaledTanh":
        alpha, beta, inner = _scalar(sink, of.alpha), _scalar(sink, of.beta), "Tanh"
    else:
        alpha, beta = (sink.constant(_by_channel(part)) for part in (of.alpha, of.beta))
        inner = "Softplus"
    return sink.add("Mul", [sink.add(inner, [sink.add("Mul", [source, beta])]), alpha])


_PLAIN = {"ReLU": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus", "softsign": "Softsign", "tanh": "Tanh"}
_WITH_ALPHA = {"ELU": "Elu", "leakyReLU": "LeakyRelu", "sigmoidHard": "HardSigmoid"}


def _by_channel(parameters: Layer) -> NDArray[np.float32]:
    count = len(parameters.floatValue) or len(parameters.float16Value) // 2 or len(parameters.rawValue)
    return weights_of(parameters, [1, count, 1, 1])


def inner_product(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """A dense layer over channels, rows and columns together."""
    width, outputs = int(layer.inputChannels), int(layer.outputChannels)
    flat = sink.add("Reshape", [inputs[0], _integers(sink, [-1, width])])
    arguments = [flat, sink.constant(weights_of(layer.weights, [outputs, width]))]
    if layer.hasBias:
        arguments.append(sink.constant(weights_of(layer.bias, [outputs])))
    return sink.add("Reshape", [sink.add("Gemm", arguments, {"transB": 1}), _integers(sink, [-1, outputs, 1, 1])])


def batchnorm(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """By stored statistics, or those of each sample."""
    channels = [int(layer.channels)]
    gamma, beta = (sink.constant(weights_of(part, channels)) for part in (layer.gamma, layer.beta))
    attributes = {"epsilon": layer.epsilon or 1e-5}
    if layer.computeMeanVar:
        if not layer.instanceNormalization:
            raise ConversionError("import.coreml_nn", "a batchnorm by the statistics of the whole batch")
        return sink.add("InstanceNormalization", [inputs[0], gamma, beta], attributes)
    mean, variance = (sink.constant(weights_of(part, channels)) for part in (layer.mean, layer.variance))
    return sink.add("BatchNormalization", [inputs[0], gamma, beta, mean, variance], attributes)


def padding(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Rows and columns around a map."""
    kind = layer.WhichOneof("PaddingType")
    top, left, bottom, right = _pads(layer.paddingAmounts)
    pads = _integers(sink, [0, 0, top, left, 0, 0, bottom, right])
    if kind == "constant":
        return sink.add("Pad", [inputs[0], pads, _scalar(sink, layer.constant.value)], {"mode": "constant"})
    return sink.add("Pad", [inputs[0], pads], {"mode": "reflect" if kind == "reflection" else "edge"})


def upsample(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Each point several times."""
    import numpy as np

    if layer.mode != 0 or layer.fractionalScalingFactor:
        raise ConversionError("import.coreml_nn", "an upsampling that is not by the nearest and a whole number")
    factors = [float(size) for size in layer.scalingFactor] or [1.0, 1.0]
    scales = sink.constant(np.array([1, 1, *factors], dtype=np.float32))
    attributes = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return sink.add("Resize", [inputs[0], "", scales], attributes)


def unary(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """f(scale * x + shift)."""
    source = inputs[0]
    if layer.scale not in {0.0, 1.0}:
        source = sink.add("Mul", [source, _scalar(sink, layer.scale)])
    if layer.shift:
        source = sink.add("Add", [source, _scalar(sink, layer.shift)])
    kind = layer.Operation.Name(layer.type)
    if kind in {"RSQRT", "INVERSE"}:
        source = sink.add("Add", [source, _scalar(sink, layer.epsilon or 1e-6)])
        return sink.add("Reciprocal", [sink.add("Sqrt", [source]) if kind == "RSQRT" else source])
    if kind in {"POWER", "THRESHOLD"}:
        return sink.add("Pow" if kind == "POWER" else "Max", [source, _scalar(sink, layer.alpha)])
    return sink.add({"SQRT": "Sqrt", "EXP": "Exp", "LOG": "Log", "ABS": "Abs"}[kind], [source])


def _joined(operator: str, neutral: float) -> Write:
    def write(sink: Sink, layer: Layer, inputs: list[str]) -> str:
        if len(inputs) == 1:
            value = layer.alpha or neutral
            return sink.add(operator, [inputs[0], _scalar(sink, value)])
        found = inputs[0]
        for other in inputs[1:]:
            found = sink.add(operator, [found, other])
        return found

    return write


def _over_all(operator: str) -> Write:
    def write(sink: Sink, layer: Layer, inputs: list[str]) -> str:
        del layer
        return sink.add(operator, inputs)

    return write


def _shaped(sink: Sink, parameters: Layer, shape: Sequence[int]) -> str:
    sizes = [int(size) for size in shape]
    return sink.constant(weights_of(parameters, [1, *sizes, *[1] * (3 - len(sizes))]))


def scale(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """X * scale + bias."""
    found = sink.add("Mul", [inputs[0], _shaped(sink, layer.scale, layer.shapeScale)])
    return sink.add("Add", [found, _shaped(sink, layer.bias, layer.shapeBias)]) if layer.hasBias else found


def bias(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """X + bias."""
    return sink.add("Add", [inputs[0], _shaped(sink, layer.bias, layer.shape)])


def load_constant(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """A value that does not depend on the input."""
    del inputs
    return _shaped(sink, layer.data, layer.shape)


def flatten(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Channels, rows and columns become channels."""
    source = sink.add("Transpose", inputs, {"perm": [0, 2, 3, 1]}) if layer.mode else inputs[0]
    return sink.add("Reshape", [sink.add("Flatten", [source], {"axis": 1}), _integers(sink, [0, -1, 1, 1])])


def reshape(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """The same numbers in other channels, rows and columns."""
    if layer.mode:
        raise ConversionError("import.coreml_nn", "a reshape with channels last")
    shape = [int(size) for size in layer.targetShape][-3:]
    return sink.add("Reshape", [inputs[0], _integers(sink, [-1, *shape])])


def permute(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Other axes, all but the sequence."""
    order = [int(axis) for axis in layer.axis]
    if order[0] != 0:
        raise ConversionError("import.coreml_nn", "a permutation of the sequence")
    return sink.add("Transpose", inputs, {"perm": order})


def concat(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """One after the other, by channels."""
    if layer.sequenceConcat:
        raise ConversionError("import.coreml_nn", "a concatenation of sequences")
    return sink.add("Concat", inputs, {"axis": 1})


def slice_(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """A part along one axis."""
    axis = {"CHANNEL_AXIS": 1, "HEIGHT_AXIS": 2, "WIDTH_AXIS": 3}[layer.SliceAxis.Name(layer.axis)]
    end = int(layer.endIndex)
    last = (1 << 62) if end == -1 else (end + 1 if end < 0 else end)
    arguments = [int(layer.startIndex), last, axis, int(layer.stride) or 1]
    return sink.add("Slice", [inputs[0], *(_integers(sink, [value]) for value in arguments)])


def lrn(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Divided by the squares of the channels around."""
    attributes = {"alpha": layer.alpha, "beta": layer.beta, "bias": layer.k or 1.0, "size": int(layer.localSize)}
    return sink.add("LRN", inputs, attributes)


def l2normalize(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Divided by the root of the squares of a sample."""
    squares = sink.add("ReduceSumSquare", [inputs[0], _integers(sink, [1, 2, 3])], {"keepdims": 1})
    root = sink.add("Sqrt", [sink.add("Add", [squares, _scalar(sink, layer.epsilon or 1e-6)])])
    return sink.add("Div", [inputs[0], root])


def softmax(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Over the channels."""
    del layer
    return sink.add("Softmax", inputs, {"axis": 1})


def reduce(sink: Sink, layer: Layer, inputs: list[str]) -> str:
    """Over some axes, which remain with one entry."""
    words = {"SUM": "ReduceSum", "AVG": "ReduceMean", "PROD": "ReduceProd", "SUMSQUARE": "ReduceSumSquare",
             "L1": "ReduceL1", "L2": "ReduceL2", "MAX": "ReduceMax", "MIN": "ReduceMin"}  # fmt: skip
    mode = layer.ReduceOperation.Name(layer.mode)
    if mode not in words:
        raise ConversionError("import.coreml_nn", f"a reduction by {mode}")
    axes = [_AXES[letter] for letter in layer.ReduceAxis.Name(layer.axis)]
    return sink.add(words[mode], [inputs[0], _integers(sink, axes)], {"keepdims": 1})


LAYERS: dict[str, Write] = {
    "activation": activation,
    "add": _joined("Add", 0.0),
    "average": _over_all("Mean"),
    "batchnorm": batchnorm,
    "bias": bias,
    "concat": concat,
    "convolution": convolution,
    "flatten": flatten,
    "innerProduct": inner_product,
    "l2normalize": l2normalize,
    "loadConstant": load_constant,
    "lrn": lrn,
    "max": _over_all("Max"),
    "min": _over_all("Min"),
    "multiply": _joined("Mul", 1.0),
    "padding": padding,
    "permute": permute,
    "pooling": pooling,
    "reduce": reduce,
    "reshape": reshape,
    "scale": scale,
    "slice": slice_,
    "softmax": softmax,
    "unary": unary,
    "upsample": upsample,
}
"""By the name of the layer's parameters."""
