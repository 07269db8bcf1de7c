"""BERT as an ONNX graph, written out from its weights: in float32, or with 8-bit products of matrices.

In 8 bits each token's activations get a scale of their own (one maximum per row) and each output of a weight
matrix its own. Two things follow that one scale for a whole tensor, as dynamic quantisation usually has it, does
not give: a text's vector is the same alone and in any batch, and the error is some three times less.

Weights have 7 bits (-63 … 63): processors with AVX2 but without VNNI add pairs of products of an unsigned and a
signed byte in 16 bits, where 255 · 63 · 2 fits and 255 · 127 · 2 does not. So all machines compute alike.

References
----------
Devlin, Chang, Lee, Toutanova: BERT, 2019, arXiv 1810.04805. Yao, Aminabadi, Zhang, Wu, Li, He: ZeroQuant: Efficient
and Affordable Post-Training Quantization for Large-Scale Transformers, 2022, arXiv 2206.01861 (scales per token).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import MissingExtra
from remanence.minilm import EPSILON, HEADS, LAYERS, LONGEST, WIDTH

VERSION = 1
"""Part of the encoder's name: to be raised with every change after which vectors differ."""
LARGEST_WEIGHT = 63
_CONTRIBUTED = "com.microsoft"  # onnxruntime's own operators
_INNER = 4 * WIDTH

Array = NDArray[Any]


class _Graph:
    """Nodes and constants of a graph while it is written."""

    def __init__(self, onnx: Any) -> None:
        self.onnx, self.nodes, self.constants = onnx, [], {}  # type: Any, list[Any], dict[str, Any]

    def constant(self, name: str, value: Array) -> str:
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def __call__(self, operator: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, list(outputs), domain=domain, **attributes))
        return outputs[0]


def bert(weights: dict[str, Array], *, eight_bits: bool) -> bytes:
    """The model as the bytes of an ONNX file.

    Shapes
    ------
    Inputs ``ids`` (texts, tokens) int64 padded with anything, ``lengths`` (texts) int32, and ``share``
    (texts, 1, tokens) float32, a token's part in the mean; output ``vector`` (texts, 384) of length 1.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "store", "making the encoder") from None
    graph = _Graph(onnx)
    x = _embedded(graph, weights)
    for k in range(LAYERS):
        x = _layer(graph, weights, f"encoder.layer.{k}", x, eight_bits)
    mean = graph("MatMul", ["share", graph("Reshape", [x, "batched"], "last")], "mean")
    mean = graph("Squeeze", [mean, graph.constant("second", np.array([1]))], "squeezed")
    graph("LpNormalization", [mean], "vector", axis=1, p=2)
    helper, kinds = onnx.helper, onnx.TensorProto
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "minilm",
            [
                helper.make_tensor_value_info("ids", kinds.INT64, ["texts", "tokens"]),
                helper.make_tensor_value_info("lengths", kinds.INT32, ["texts"]),
                helper.make_tensor_value_info("share", kinds.FLOAT, ["texts", 1, "tokens"]),
            ],
            [helper.make_tensor_value_info("vector", kinds.FLOAT, ["texts", WIDTH])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(_CONTRIBUTED, 1)],
        ir_version=9,
    )
    written: bytes = model.SerializeToString()
    return written


def _embedded(graph: _Graph, weights: dict[str, Array]) -> str:
    """Words and positions as rows (texts * tokens, 384); all tokens are of the first type."""
    graph("Shape", ["ids"], "shape")
    graph("ReduceProd", ["shape"], "rows", keepdims=1)
    for name, width in (("batched", WIDTH), ("batched3", 3 * WIDTH)):
        graph("Concat", ["shape", graph.constant(f"{name}.width", np.array([width]))], name, axis=0)
    words = graph.constant("words", weights["embeddings.word_embeddings.weight"])
    positions = weights["embeddings.position_embeddings.weight"][:LONGEST]
    positions = graph.constant("positions", positions + weights["embeddings.token_type_embeddings.weight"][0])
    first = graph.constant("first", np.array([0]))
    graph("Shape", ["ids"], "tokens", start=1, end=2)
    positions = graph("Slice", [positions, first, "tokens", first], "places")
    x = graph("Add", [graph("Gather", [words, "ids"], "read"), positions], "placed")
    return _normal(graph, weights, "embeddings.LayerNorm", graph("Reshape", [x, _rows_of(graph)], "placed.rows"))


def _layer(graph: _Graph, weights: dict[str, Array], layer: str, x: str, eight_bits: bool) -> str:
    own = f"{layer}.attention.self"
    matrix = np.concatenate([weights[f"{own}.{part}.weight"] for part in ("query", "key", "value")])
    offset = np.concatenate([weights[f"{own}.{part}.bias"] for part in ("query", "key", "value")])
    parts = graph("Reshape", [_product(graph, f"{own}.all", matrix, x, eight_bits), "batched3"], f"{own}.parts")
    names = [f"{own}.query", f"{own}.key", f"{own}.value"]
    graph("Split", [parts, graph.constant("thirds", np.array([WIDTH] * 3))], *names, axis=-1)
    inputs = [*names, graph.constant(f"{own}.bias", offset), "lengths"]
    y = graph("MultiHeadAttention", inputs, f"{own}.attended", domain=_CONTRIBUTED, num_heads=HEADS)
    y = graph("Reshape", [y, _rows_of(graph)], f"{own}.rows")
    y = _linear(graph, weights, f"{layer}.attention.output.dense", y, eight_bits)
    sum_ = graph("Add", [x, y], f"{layer}.first")
    x = _normal(graph, weights, f"{layer}.attention.output.LayerNorm", sum_)
    y = _linear(graph, weights, f"{layer}.intermediate.dense", x, eight_bits)
    y = graph("Gelu", [y], f"{layer}.gelu", domain=_CONTRIBUTED)
    y = _linear(graph, weights, f"{layer}.output.dense", y, eight_bits)
    return _normal(graph, weights, f"{layer}.output.LayerNorm", graph("Add", [x, y], f"{layer}.second"))


def _rows_of(graph: _Graph) -> str:
    return graph.constant("rows.shape", np.array([-1, WIDTH]))


def _normal(graph: _Graph, weights: dict[str, Array], name: str, x: str) -> str:
    # Apart from the addition before it: onnxruntime's fused operator for both is several times slower on a CPU.
    scale, offset = (graph.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph("LayerNormalization", [x, scale, offset], f"{name}.out", axis=-1, epsilon=EPSILON)


def _linear(graph: _Graph, weights: dict[str, Array], name: str, x: str, eight_bits: bool) -> str:
    y = _product(graph, name, weights[f"{name}.weight"], x, eight_bits)
    return graph("Add", [y, graph.constant(f"{name}.bias", weights[f"{name}.bias"])], f"{name}.out")


def _product(graph: _Graph, name: str, matrix: Array, x: str, eight_bits: bool) -> str:
    """x @ matrix.T for rows x."""
    if not eight_bits:
        return graph("MatMul", [x, graph.constant(f"{name}.weight", matrix.T)], f"{name}.product")
    scales = (np.abs(matrix).max(axis=1) / LARGEST_WEIGHT).astype(np.float32)
    whole = np.rint(matrix / scales[:, None]).astype(np.int8)
    largest = graph("ReduceMax", [graph("Abs", [x], f"{name}.abs")], f"{name}.max", axes=[1], keepdims=0)
    # The constant keeps a row of zeros from being divided by zero.
    largest = graph("Add", [largest, graph.constant("tiny", np.array(1e-20, np.float32))], f"{name}.largest")
    row = graph("Mul", [largest, graph.constant("step", np.array(1 / 127, np.float32))], f"{name}.row")
    middle = graph.constant("middle", np.array(128, np.uint8))
    middles = graph("Expand", [middle, "rows"], f"{name}.middles")
    bytes_ = graph("QuantizeLinear", [x, row, middles], f"{name}.bytes", axis=0)
    inputs = [bytes_, graph.constant(f"{name}.weight", whole.T), graph.constant("one", np.array(1, np.float32))]
    inputs += [graph.constant(f"{name}.scales", scales), middle]
    y = graph("MatMulIntegerToFloat", inputs, f"{name}.columns", domain=_CONTRIBUTED)
    row = graph("Unsqueeze", [row, graph.constant("second", np.array([1]))], f"{name}.rows")
    return graph("Mul", [y, row], f"{name}.product")
