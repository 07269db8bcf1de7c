"""BERT as an ONNX graph, written out from its weights: in float32, or with 8-bit products of matrices.

In 8 bits each token's activations get a scale of their own (one maximum per row) and each output of a weight
matrix its own. So a text's vector is the same alone and in any batch, which one scale for a whole tensor, as
dynamic quantisation usually has it, does not give.

Each weight is the sum of two bytes of 7 bits (-63 … 63), the second in steps 126 times finer: so weights lose next
to nothing, at the price of a second product. 7 bits, because processors with AVX2 but without VNNI add pairs of
products of an unsigned and a signed byte in 16 bits, where 255 · 63 · 2 fits and 255 · 127 · 2 does not. So all
machines compute alike. What is left is the rounding of activations. A few channels behind each layer normalisation
are ten times larger than the rest; a factor per channel moves all of that into the weights, which can hold it.

References
----------
Devlin, Chang, Lee, Toutanova: BERT, 2019, arXiv 1810.04805. Yao, Aminabadi, Zhang, Wu, Li, He: ZeroQuant: Efficient
and Affordable Post-Training Quantization for Large-Scale Transformers, 2022, arXiv 2206.01861 (scales per token).
Xiao, Lin, Seznec, Wu, Demouth, Han: SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models, 2022, arXiv 2211.10438 (factors per channel).

Departures
----------
Of SmoothQuant: factors only behind layer normalisations, where a second normalisation with its weights divided
costs little; a migration strength of 1, where one byte per weight asks for about 0.5; factors are rounded to quarters
of an octave, so that every machine finds the same ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.minilm import EPSILON, HEADS, LAYERS, LONGEST, WIDTH

VERSION = 2
"""Part of the encoder's name: to be raised with every change after which vectors differ."""
LARGEST_WEIGHT = 63
FINER = 2 * LARGEST_WEIGHT
"""The second byte's steps in one of the first's: what rounding leaves, half a step, is its largest value."""
SMALLEST_GELU = -0.17
"""GELU is nowhere below -0.16998: what it gives needs few of the 255 steps below zero."""
_CONTRIBUTED = "com.microsoft"  # onnxruntime's own operators

Array = NDArray[Any]


class _Graph:
    """Nodes and constants of a graph while it is written."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.normalised: dict[str, tuple[str, str]] = {}
        """Of what layer normalisations gave: what they were given, and their name."""

    def constant(self, name: str, value: Array) -> str:
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def __call__(self, operator: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, list(outputs), domain=domain, **attributes))
        return outputs[0]


def bert(weights: dict[str, Array], *, largest: dict[str, Array] | None = None, watched: bool = False) -> bytes:
    """The model as the bytes of an ONNX file.

    Parameters
    ----------
    weights:
        By the names that the model's authors gave them.
    largest:
        For 8 bits: the largest magnitude seen in each channel behind each layer normalisation, by its name.
    watched:
        Whether what each layer normalisation gives is an output too, under its name.

    Shapes
    ------
    Inputs ``ids`` (texts, tokens) int64 padded with anything, ``lengths`` (texts) int32, and ``share``
    (texts, 1, tokens) float32, a token's part in the mean; output ``vector`` (texts, 384) of length 1.
    """
    import onnx

    graph = _Graph(onnx)
    x = _embedded(graph, weights, halved=largest is not None)
    for k in range(LAYERS):
        x = _layer(graph, weights, f"encoder.layer.{k}", x, largest)
    mean = graph("MatMul", ["share", graph("Reshape", [x, "batched"], "last")], "mean")
    mean = graph("Squeeze", [mean, graph.constant("second", np.array([1]))], "squeezed")
    graph("LpNormalization", [mean], "vector", axis=1, p=2)
    helper, kinds = onnx.helper, onnx.TensorProto
    outputs = [helper.make_tensor_value_info("vector", kinds.FLOAT, ["texts", WIDTH])]
    if watched:
        outputs += [helper.make_tensor_value_info(name, kinds.FLOAT, [None, WIDTH]) for name in graph.normalised]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "minilm",
            [
                helper.make_tensor_value_info("ids", kinds.INT64, ["texts", "tokens"]),
                helper.make_tensor_value_info("lengths", kinds.INT32, ["texts"]),
                helper.make_tensor_value_info("share", kinds.FLOAT, ["texts", 1, "tokens"]),
            ],
            outputs,
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(_CONTRIBUTED, 1)],
        ir_version=9,
    )
    written: bytes = model.SerializeToString()
    return written


def _embedded(graph: _Graph, weights: dict[str, Array], *, halved: bool) -> str:
    """Words and positions as rows (texts * tokens, 384); all tokens are of the first type.

    Vectors of words are most of the file; in 16 bits they are read in half the time, and change nothing to speak of.
    """
    graph("Shape", ["ids"], "shape")
    graph("ReduceProd", ["shape"], "rows", keepdims=1)
    for name, width in (("batched", WIDTH), ("batched3", 3 * WIDTH)):
        graph("Concat", ["shape", graph.constant(f"{name}.width", np.array([width]))], name, axis=0)
    table = weights["embeddings.word_embeddings.weight"]
    words = graph("Gather", [graph.constant("words", table.astype(np.float16) if halved else table), "ids"], "read")
    if halved:
        words = graph("Cast", [words], "read.whole", to=graph.onnx.TensorProto.FLOAT)
    places = weights["embeddings.position_embeddings.weight"][:LONGEST]
    positions = graph.constant("positions", places + weights["embeddings.token_type_embeddings.weight"][0])
    first = graph.constant("first", np.array([0]))
    graph("Shape", ["ids"], "tokens", start=1, end=2)
    placed = graph("Slice", [positions, first, "tokens", first], "places")
    x = graph("Add", [words, placed], "placed")
    return _normal(graph, weights, "embeddings.LayerNorm", graph("Reshape", [x, _rows_of(graph)], "placed.rows"))


def _layer(graph: _Graph, weights: dict[str, Array], layer: str, x: str, largest: dict[str, Array] | None) -> str:
    own = f"{layer}.attention.self"
    matrix = np.concatenate([weights[f"{own}.{part}.weight"] for part in ("query", "key", "value")])
    offset = np.concatenate([weights[f"{own}.{part}.bias"] for part in ("query", "key", "value")])
    parts = graph("Reshape", [_product(graph, weights, f"{own}.all", matrix, x, largest), "batched3"], f"{own}.parts")
    names = [f"{own}.query", f"{own}.key", f"{own}.value"]
    graph("Split", [parts, graph.constant("thirds", np.array([WIDTH] * 3))], *names, axis=-1)
    inputs = [*names, graph.constant(f"{own}.bias", offset), "lengths"]
    y = graph("MultiHeadAttention", inputs, f"{own}.attended", domain=_CONTRIBUTED, num_heads=HEADS)
    y = graph("Reshape", [y, _rows_of(graph)], f"{own}.rows")
    y = _linear(graph, weights, f"{layer}.attention.output.dense", y, largest)
    sum_ = graph("Add", [x, y], f"{layer}.first")
    x = _normal(graph, weights, f"{layer}.attention.output.LayerNorm", sum_)
    y = _linear(graph, weights, f"{layer}.intermediate.dense", x, largest)
    y = graph("Gelu", [y], f"{layer}.gelu", domain=_CONTRIBUTED)
    y = _linear(graph, weights, f"{layer}.output.dense", y, largest)
    return _normal(graph, weights, f"{layer}.output.LayerNorm", graph("Add", [x, y], f"{layer}.second"))


def _rows_of(graph: _Graph) -> str:
    return graph.constant("rows.shape", np.array([-1, WIDTH]))


def _normal(graph: _Graph, weights: dict[str, Array], name: str, x: str) -> str:
    # Apart from the addition before it: onnxruntime's fused operator for both is several times slower on a CPU.
    scale, offset = (graph.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    graph.normalised[name] = (x, name)
    return graph("LayerNormalization", [x, scale, offset], name, axis=-1, epsilon=EPSILON)


def _linear(graph: _Graph, weights: dict[str, Array], name: str, x: str, largest: dict[str, Array] | None) -> str:
    y = _product(graph, weights, name, weights[f"{name}.weight"], x, largest)
    return graph("Add", [y, graph.constant(f"{name}.bias", weights[f"{name}.bias"])], f"{name}.out")


def _product(
    graph: _Graph, weights: dict[str, Array], name: str, matrix: Array, x: str, largest: dict[str, Array] | None
) -> str:
    """x @ matrix.T for rows x."""
    if largest is None:
        return graph("MatMul", [x, graph.constant(f"{name}.weight", matrix.T)], f"{name}.product")
    if x in graph.normalised:
        x, matrix = _smoothed(graph, weights, name, matrix, x, largest)
    scales = (np.abs(matrix).max(axis=1) / LARGEST_WEIGHT).astype(np.float32)
    coarse = np.rint(matrix / scales[:, None])
    fine = np.rint((matrix / scales[:, None] - coarse) * FINER)
    row, steps, zero = _steps(graph, name, x)
    one = graph.constant("one", np.array(1, np.float32))
    columns = []
    for part, whole, each in (("coarse", coarse, scales), ("fine", fine, scales / FINER)):
        inputs = [steps, graph.constant(f"{name}.{part}", whole.astype(np.int8).T), one]
        inputs += [graph.constant(f"{name}.{part}.scales", each.astype(np.float32)), zero]
        columns.append(graph("MatMulIntegerToFloat", inputs, f"{name}.{part}.columns", domain=_CONTRIBUTED))
    y = graph("Add", columns, f"{name}.columns")
    row = graph("Unsqueeze", [row, graph.constant("second", np.array([1]))], f"{name}.rows")
    return graph("Mul", [y, row], f"{name}.product")


def _smoothed(
    graph: _Graph, weights: dict[str, Array], name: str, matrix: Array, x: str, largest: dict[str, Array]
) -> tuple[str, Array]:
    """A layer normalisation's output with even channels, and the matrix that makes up for it."""
    before, normal = graph.normalised[x]
    factors = np.exp2(np.rint(np.log2(largest[normal]) * 4) / 4).astype(np.float32)
    parts = [
        graph.constant(f"{name}.even.{part}", weights[f"{normal}.{part}"] / factors) for part in ("weight", "bias")
    ]
    return graph("LayerNormalization", [before, *parts], f"{name}.even", axis=-1, epsilon=EPSILON), matrix * factors


def _steps(graph: _Graph, name: str, x: str) -> tuple[str, str, str]:
    """Rows as whole steps from 0 to 255: each row's step, the steps, and which of them is zero."""
    if x.endswith(".gelu"):
        below, magnitude, smallest = 32, x, -SMALLEST_GELU / 32
    else:  # The smallest step keeps a row of zeros from being divided by zero.
        below, magnitude, smallest = 128, graph("Abs", [x], f"{name}.abs"), 1e-20
    above = graph("ReduceMax", [magnitude], f"{name}.max", axes=[1], keepdims=0)
    step = graph.constant(f"step.{below}", np.array(1 / (255 - below), np.float32))
    row = graph("Mul", [above, step], f"{name}.step")
    row = graph("Max", [row, graph.constant(f"least.{below}", np.array(smallest, np.float32))], f"{name}.row")
    zero = graph.constant(f"zero.{below}", np.array(below, np.uint8))
    zeros = graph("Expand", [zero, "rows"], f"{name}.zeros")
    return row, graph("QuantizeLinear", [x, row, zeros], f"{name}.steps", axis=0), zero
