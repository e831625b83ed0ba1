"""Makes the ONNX files of this folder: small networks that exercise the importer, and malformed ones.

Usage: python make.py FOLDER (needs onnx, numpy and onnxruntime). Each good file carries its own test in its metadata:
"test.input" and "test.output" are numbers in row-major order, the output computed by onnxruntime. What is expected of the
bad_ files stands in tests/unit/onnx/test_malformed.c. Made with onnx 1.23.2, onnxruntime 1.31.1.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
rng = np.random.default_rng(1)


def rand(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), output.split(), name=output.split()[0] + "_node", **attributes)


def const(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def build(nodes, inits, in_shape, out_shape, opset=13, in_type=TensorProto.FLOAT, extra_inputs=(), outputs=None, functions=()):
    outputs = outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape)]
    graph = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info("x", in_type, in_shape), *extra_inputs], outputs, inits
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)] + [helper.make_opsetid("local", 1)] * bool(functions),
        producer_name="make.py", producer_version="1", functions=functions,
    )
    model.ir_version = 8 if functions else 7
    return model


def write(name, model):
    with open(f"{folder}/{name}.onnx", "wb") as file:
        file.write(model.SerializeToString())


def good(name, nodes, inits, in_shape, out_shape, batch=2, each=0, sizes={}, instead=None, **more):
    """each: so many images one by one, for a file made for a batch of one. sizes: of axes that are open. instead: nodes
    that mean the same, where onnxruntime does not have the operator."""
    model = build(nodes, inits, in_shape, out_shape, **more)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    runs = build(instead, inits, in_shape, out_shape, **more) if instead else model
    session = onnxruntime.InferenceSession(runs.SerializeToString(), options)
    x = rand(*[sizes.get(d, batch) if isinstance(d, str) else d for d in [each or in_shape[0], *in_shape[1:]]])
    y = np.stack([session.run(None, {"x": row})[0] for row in (np.split(x, each) if each else [x])])
    for key, value in (("test.input", x), ("test.output", y)):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, " ".join(f"{v:.9g}" for v in value.ravel())
    write(name, model)


flat = node("Flatten", "t", "y")

# ---- windows -----------------------------------------------------------------------------------------------------
good(
    "conv_group_dilated",
    [node("Conv", "x w b", "t", group=2, dilations=[2, 1], strides=[1, 2], pads=[2, 0, 1, 1]), flat],
    [const("w", rand(6, 2, 3, 2)), const("b", rand(6))],
    ["N", 4, 6, 5],
    ["N", 144],
)
for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    good(
        f"conv_{pad.lower()}",
        [node("Conv", "x w", "t", auto_pad=pad, strides=[2, 2], kernel_shape=[3, 2]), flat],
        [const("w", rand(2, 1, 3, 2))],
        ["N", 1, 6, 7],
        ["N", "K"],
    )
good(
    "conv_bias_added",
    [node("Conv", "x w", "c"), node("Add", "b c", "t"), flat],
    [const("w", rand(2, 1, 2, 2)), const("b", rand(1, 2, 1, 1))],
    ["N", 1, 3, 3],
    ["N", 8],
)
good(
    "max_pool_ceil",
    [node("MaxPool", "x", "t", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], ceil_mode=1), flat],
    [],
    ["N", 2, 6, 5],
    ["N", "K"],
)
good(
    "max_pool_same",
    [node("MaxPool", "x", "t", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), flat],
    [],
    ["N", 2, 6, 5],
    ["N", "K"],
)
good(
    "average_pool",
    [node("AveragePool", "x", "t", kernel_shape=[2, 3], strides=[1, 2], pads=[1, 1, 0, 1]), flat],
    [],
    ["N", 2, 5, 6],
    ["N", "K"],
)
good(
    "average_pool_count_pad",
    [node("AveragePool", "x", "t", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1), flat],
    [],
    ["N", 2, 5, 6],
    ["N", "K"],
)
good("global_average_pool", [node("GlobalAveragePool", "x", "y")], [], ["N", 3, 4, 5], ["N", 3, 1, 1])
good(
    "pad",
    [node("Pad", "x p v", "t"), flat],
    [const("p", np.array([0, 0, 1, 0, 0, 0, 2, 3])), const("v", np.float32(0.5))],
    ["N", 1, 2, 2],
    ["N", 25],
)
good(
    "pad_attribute",
    [node("Pad", "x", "t", pads=[0, 0, 1, 0, 0, 0, 0, 3], value=-1.0), flat],
    [],
    ["N", 1, 2, 2],
    ["N", 15],
    opset=9,
)

# ---- matrices ----------------------------------------------------------------------------------------------------
good(
    "gemm_scaled",
    [node("Gemm", "x w b", "y", alpha=0.5, beta=2.0)],
    [const("w", rand(5, 3)), const("b", rand(1, 3))],
    ["N", 5],
    ["N", 3],
)
good(
    "gemm_scaled_transposed",
    [node("Gemm", "x w b", "y", alpha=0.5, beta=2.0, transB=1)],
    [const("w", rand(3, 5)), const("b", rand(3))],
    ["N", 5],
    ["N", 3],
)
good(
    "gemm_scalar_bias",
    [node("Gemm", "x w b", "y")],
    [const("w", rand(5, 3)), const("b", np.float32(0.75))],
    ["N", 5],
    ["N", 3],
)
good(
    "gemm_shared",
    [
        node("Gemm", "x w", "a", transB=1),
        node("Relu", "a", "b"),
        node("Gemm", "b w", "c"),
        node("Gemm", "c w", "y", transB=1),
    ],
    [const("w", rand(4, 4))],
    ["N", 4],
    ["N", 4],
)
good(
    "matmul_add",
    [node("MatMul", "x w", "m"), node("Add", "b m", "y")],
    [const("w", rand(5, 3)), const("b", rand(1, 3))],
    ["N", 5],
    ["N", 3],
)
good(
    "matmul_read_twice",
    [node("MatMul", "x w", "m"), node("Identity", "m", "i"), node("Add", "i b", "a"), node("Mul", "a m", "y")],
    [const("w", rand(5, 3)), const("b", rand(3))],
    ["N", 5],
    ["N", 3],
)

# ---- activations, normalisation ----------------------------------------------------------------------------------
good(
    "batch_norm",
    [node("BatchNormalization", "x s b m v", "t", epsilon=0.01), flat],
    [const("s", rand(3)), const("b", rand(3)), const("m", rand(3)), const("v", rand(3) ** 2)],
    ["N", 3, 2, 2],
    ["N", 12],
)
good(
    "activations",
    [
        node("LeakyRelu", "x", "a", alpha=0.2),
        node("Sigmoid", "a", "b"),
        node("Tanh", "b", "c"),
        node("Identity", "c", "d"),
        node("Cast", "d", "y", to=1),
    ],
    [],
    ["N", 6],
    ["N", 6],
)
good("clip", [node("Clip", "x lo", "y")], [const("lo", np.float32(0))], ["N", 6], ["N", 6])
good("clip_attribute", [node("Clip", "x", "y", min=0.0)], [], ["N", 6], ["N", 6], opset=10)
good(
    "softmax_tail",
    [node("Relu", "x", "a"), node("Softmax", "a", "b"), node("Identity", "b", "y")],
    [],
    ["N", 6],
    ["N", 6],
)
good(
    "log_softmax_tail", [node("Relu", "x", "a"), node("LogSoftmax", "a", "y", axis=1)], [], ["N", 6], ["N", 6], opset=9
)
good(
    "softmax_inside",
    [node("Softmax", "x", "a", axis=-1), node("Mul", "a three", "y")],
    [const("three", np.float32(3))],
    ["N", 6],
    ["N", 6],
)
good(
    "softmax_image",
    [node("GlobalAveragePool", "x", "a"), node("Softmax", "a", "y")],
    [],
    ["N", 4, 3, 3],
    ["N", 4, 1, 1],
    opset=9,
)
good("dropout", [node("Dropout", "x ratio", "y")], [const("ratio", np.float32(0.3))], ["N", 6], ["N", 6])
good("dropout_attribute", [node("Dropout", "x", "y", ratio=0.3)], [], ["N", 6], ["N", 6], opset=10)

# ---- arithmetic --------------------------------------------------------------------------------------------------
good(
    "preprocessing",
    [node("Sub", "x mean", "a"), node("Div", "a std", "b"), node("Sub", "one b", "c"), node("Mul", "c map", "t"), flat],
    [
        const("mean", rand(1, 3, 1, 1)),
        const("std", rand(3, 1, 1) ** 2 + 1),
        const("one", np.float32([[[[1]]]])),
        const("map", rand(1, 3, 2, 2)),
    ],
    ["N", 3, 2, 2],
    ["N", 12],
)
good(
    "residual",
    [node("Relu", "x", "a"), node("Add", "a x", "b"), node("Mul", "b b", "c"), node("Div", "c two", "y")],
    [const("two", np.float32([2]))],
    ["N", 6],
    ["N", 6],
)
good(
    "constants_folded",
    [
        node("Add", "p q", "a"),
        node("Mul", "a q", "b"),
        node("Sub", "b p", "c"),
        node("Div", "c two", "d"),
        node("Add", "x d", "t"),
        flat,
    ],
    [const("p", rand(2, 1)), const("q", rand(1, 3)), const("two", np.float32(2))],
    ["N", 1, 2, 3],
    ["N", 6],
)

# ---- shapes ------------------------------------------------------------------------------------------------------
good(
    "nhwc",
    [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a w", "b"),
        node("Transpose", "b", "t", perm=[0, 2, 3, 1]),
        flat,
    ],
    [const("w", rand(2, 3, 2, 2))],
    ["N", 4, 3, 3],
    ["N", 12],
)
good(
    "squeeze",
    [
        node("Unsqueeze", "x ax", "a"),
        node("Squeeze", "a ax", "b"),
        node("Unsqueeze", "b one", "c"),
        node("Squeeze", "c one", "y"),
    ],
    [const("ax", np.array([-1, 1])), const("one", np.array([1]))],
    ["N", 6],
    ["N", 6],
)
good(
    "squeeze_attribute",
    [node("Unsqueeze", "x", "a", axes=[1, 3]), node("Squeeze", "a", "y", axes=[1, 3])],
    [],
    ["N", 6],
    ["N", 6],
    opset=11,
)
good(
    "reshape_zero",
    [node("Reshape", "x s", "a"), node("Relu", "a", "b"), node("Reshape", "b r", "y")],
    [const("s", np.array([0, 3, -1])), const("r", np.array([-1, 12]))],
    ["N", 2, 6],
    ["N", 12],
)
good(
    "shape_chain",
    [
        node("Shape", "x", "s"),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n zeros", "n1"),
        node("Concat", "n1 minus", "to", axis=0),
        node("Reshape", "x to", "y"),
    ],
    [const("zeros", np.array([0])), const("minus", np.array([-1]))],
    ["N", 2, 6],
    ["N", 12],
)
good(
    "shape_slice",
    [
        node("Shape", "x", "s"),
        node("Slice", "s a b", "n"),
        node("Slice", "s b c", "hw"),
        node("Gather", "hw zero", "h"),
        node("Gather", "hw one", "w"),
        node("Mul", "h w", "k"),
        node("Unsqueeze", "k zeros", "k1"),
        node("Concat", "n k1", "to", axis=0),
        node("Cast", "to", "to32", to=6),
        node("Cast", "to32", "to64", to=7),
        node("Reshape", "x to64", "y"),
    ],
    [
        const("a", np.array([0])),
        const("b", np.array([1])),
        const("c", np.array([2**63 - 1])),
        const("zero", np.array(0)),
        const("one", np.array(-1)),
        const("zeros", np.array([0])),
    ],
    ["N", 2, 6],
    ["N", 12],
)
good(
    "fixed_batch",
    [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n", "n1", axes=[0]),
        node("Concat", "n1 minus", "to", axis=0),
        node("Reshape", "x to", "a"),
        node("Reshape", "a fixed", "b"),
        node("Reshape", "b back", "y"),
    ],
    [
        const("zero", np.array(0)),
        const("minus", np.array([-1])),
        const("fixed", np.array([1, 3, 4])),
        const("back", np.array([1, 12])),
    ],
    [1, 2, 6],
    [1, 12],
    opset=9,
)
# Padding as PyTorch writes it: the amounts come out of a chain of constants.
good(
    "pad_chain",
    [
        node("ConstantOfShape", "four", "zeros", value=helper.make_tensor("v", TensorProto.INT64, [1], [0])),
        node("Concat", "amounts zeros", "all", axis=0),
        node("Reshape", "all pairs", "rows"),
        node("Slice", "rows last first zero back", "reversed"),
        node("Transpose", "reversed", "columns", perm=[1, 0]),
        node("Reshape", "columns open", "list"),
        node("Cast", "list", "pads", to=7),
        node("Pad", "x pads", "t"),
        flat,
    ],
    [
        const("four", np.array([4])),
        const("amounts", np.array([1, 2, 0, 1])),
        const("pairs", np.array([-1, 2])),
        const("last", np.array([-1])),
        const("first", np.array([-(2**63) + 1])),
        const("zero", np.array([0])),
        const("back", np.array([-1])),
        const("open", np.array([-1])),
    ],
    ["N", 1, 2, 3],
    ["N", 18],
)

# ---- element types -----------------------------------------------------------------------------------------------
values = np.array([[1, -2.5, 6e-8, 65504, 0, 0.3333]])
for kind, code in (("float16", TensorProto.FLOAT16), ("double", TensorProto.DOUBLE)):
    typed = helper.make_tensor("c", code, [1, 6], values.astype(kind).ravel())
    raw = const("d", values.astype(kind))
    good(
        f"type_{kind}",
        [
            node("Cast", "c", "c32", to=1),
            node("Cast", "d", "d32", to=1),
            node("Add", "x c32", "a"),
            node("Sub", "a d32", "b"),
            node("Add", "b c32", "y"),
        ],
        [typed, raw],
        ["N", 6],
        ["N", 6],
    )
good(
    "type_integers",
    [node("Cast", f"c{i}", f"f{i}", to=1) for i in range(6)]
    + [node("Add", "x f0", "a0")]
    + [node("Add", f"a{i - 1} f{i}", f"a{i}" if i < 5 else "y") for i in range(1, 6)],
    [
        helper.make_tensor("c0", TensorProto.INT32, [3], [1, -2, 3]),
        const("c1", np.array([4, -5, 6], np.int32)),
        const("c2", np.array([-7, 8, 9], np.int8)),
        const("c3", np.array([200, 1, 2], np.uint8)),
        helper.make_tensor("c4", TensorProto.INT64, [3], [-10, 11, 12]),
        const("c5", np.array([-300, 1, 2], np.int16)),
    ],
    ["N", 3],
    ["N", 3],
)
good(
    "constant_nodes",
    [
        helper.make_node("Constant", [], ["a"], value_float=2.5),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Constant", [], ["c"], value=helper.make_tensor("v", TensorProto.FLOAT, [3], [4, 5, 6])),
        helper.make_node("Constant", [], ["d"], value_ints=[0, -1]),
        helper.make_node("Mul", ["x", "a"], ["e"]),
        helper.make_node("Add", ["e", "b"], ["f"]),
        helper.make_node("Div", ["f", "c"], ["g"]),
        helper.make_node("Reshape", ["g", "d"], ["y"]),
    ],
    [],
    ["N", 3],
    ["N", 3],
)
good(
    "initializers_listed_as_inputs",
    [node("Add", "x c", "y")],
    [const("c", rand(3))],
    ["N", 3],
    ["N", 3],
    extra_inputs=[helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])],
)

# ---- malformed or beyond parry -----------------------------------------------------------------------------------
relu = node("Relu", "x", "y")


def bad(name, nodes=(relu,), inits=(), in_shape=("N", 6), out_shape=("N", 6), change=None, **more):
    model = build(list(nodes), list(inits), list(in_shape), list(out_shape), **more)
    if change:
        change(model)
    write("bad_" + name, model)


def tensor(name, dims, kind=TensorProto.FLOAT, raw=b""):
    result = TensorProto(name=name, data_type=kind, raw_data=raw)
    result.dims.extend(dims)
    return result


def external(model):
    t = model.graph.initializer[0]
    t.ClearField("raw_data")
    t.data_location = TensorProto.EXTERNAL
    entry = t.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


add = node("Add", "x c", "y")
bad("cycle", [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")])
bad("self", [node("Add", "x y", "y")])
bad("undefined", [node("Add", "x nowhere", "y")])
bad("twice", [relu, node("Tanh", "x", "y")])
bad(
    "two_inputs",
    [node("Add", "x z", "y")],
    extra_inputs=[helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 6])],
)
bad(
    "two_inputs_keras",
    [node("Add", "x z", "y")],
    change=lambda model: setattr(model, "producer_name", "tf2onnx"),
    extra_inputs=[helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 6])],
)
bad(
    "two_outputs",
    [relu, node("Tanh", "x", "z")],
    outputs=[helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 6]) for n in "yz"],
)
bad("no_output", [node("Relu", "x", "z")])
bad("no_nodes", [])
bad("external", [add], [const("c", rand(6))], change=external)
bad("opset_old", opset=6)
bad("opset_new", opset=22)
bad("no_opset", change=lambda m: m.ClearField("opset_import"))
bad(
    "operators",
    [
        node("LSTM", "x", "a"),
        node("Relu", "a", "b"),
        helper.make_node("Fancy", ["b"], ["c"], domain="com.example", name="far"),
        node("Hardmax", "c", "d"),
        node("Hardmax", "d", "e"),
        node("Hardmax", "e", "f"),
        node("Hardmax", "f", "g"),
        node("Hardmax", "g", "y"),
        node("Selu", "x", "unused"),
    ],
)
bad("huge_dims", [add], [tensor("c", [2**40, 2**40])])
bad("negative_dims", [add], [tensor("c", [-6])])
bad(
    "empty_huge_dims",
    [node("Transpose", "c", "d"), node("Add", "x d", "y")],
    [tensor("c", [2**30, 2**30, 0, 2**30, 2**30])],
)
bad("short_data", [add], [tensor("c", [6], raw=b"\0" * 23)])
bad("no_data", [add], [tensor("c", [6])])
bad("strings", [add], [tensor("c", [6], TensorProto.STRING)])
bad("many_axes", [add], [tensor("c", [1] * 9, raw=b"\0" * 4)])
bad("many_axes_value", [add], [tensor("c", [1, 1, 1, 1, 1, 1, 2, 6], raw=b"\0" * 48)])
bad("huge_constant", [node("ConstantOfShape", "s", "c"), add], [const("s", np.array([2**31 - 1, 2**31 - 1, 4]))])
bad(
    "large_constants",
    [node("ConstantOfShape", "s", f"c{i}") for i in range(9)]
    + [node("Add", "x c0", "a0")]
    + [node("Add", f"a{i - 1} c{i}", f"a{i}" if i < 8 else "y") for i in range(1, 9)],
    [const("s", np.array([2**29 + 1]))],
)
bad("kernel", [node("Conv", "x w", "t"), flat], [const("w", rand(2, 3, 1, 1))], ["N", 4, 2, 2], ["N", 8])
bad("kernel_rank", [node("Conv", "x w", "t"), flat], [const("w", rand(2, 4, 1))], ["N", 4, 2, 2], ["N", 8])
bad("window", [node("MaxPool", "x", "t", kernel_shape=[5, 5]), flat], [], ["N", 4, 2, 2], ["N", 8])
bad("stride", [node("MaxPool", "x", "t", kernel_shape=[2, 2], strides=[0, 1]), flat], [], ["N", 4, 2, 2], ["N", 8])
bad(
    "huge_pads",
    [node("MaxPool", "x", "t", kernel_shape=[2, 2], pads=[2**40, 0, 0, 0]), flat],
    [],
    ["N", 4, 2, 2],
    ["N", 8],
)
bad("computed_kernel", [node("Sigmoid", "x", "w"), node("Conv", "x w", "t"), flat], [], ["N", 4, 2, 2], ["N", 8])
bad("gemm", [node("Gemm", "x w", "y")], [const("w", rand(5, 6))])
bad("batch_norm", [node("BatchNormalization", "x c c c d", "y")], [const("c", rand(6)), const("d", rand(5))])
bad(
    "pad_mode",
    [node("Pad", "x p", "t", mode="wobble"), flat],
    [const("p", np.array([0, 0, 1, 1, 0, 0, 1, 1]))],
    ["N", 1, 2, 2],
    ["N", 16],
)
bad("across_batch", [node("Reshape", "x s", "y")], [const("s", np.array([-1, 3]))])
bad("transpose_batch", [node("Transpose", "x", "y")])
bad("shape_size", [node("Reshape", "x s", "t"), flat], [const("s", np.array([0, 4, -1]))])
bad("open_size", in_shape=("N", "W"), out_shape=("N", "W"))
bad("integer_input", in_type=TensorProto.INT32)
bad("no_shape", change=lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"))
bad("one_score", [node("Gemm", "x w", "y")], [const("w", rand(6, 1))], out_shape=("N", 1))
bad("images_out", in_shape=("N", 3, 2, 2), out_shape=("N", 3, 2, 2))
bad("constant_output", [node("Relu", "x", "a"), node("Add", "c c", "y")], [const("c", rand(6))])
bad("softmax_axis", [node("Softmax", "x", "a", axis=0), node("Relu", "a", "y")])
bad("bell", [helper.make_node("Bell\x07\x1b[2J", ["x"], ["y"], name="n\x07\node")])
bad("index", [node("Gather", "c i", "d"), node("Add", "x d", "y")], [const("c", rand(6)), const("i", np.array([9]))])
bad(
    "slice_step",
    [node("Slice", "c z o z z", "d"), node("Add", "x d", "y")],
    [const("c", rand(6)), const("z", np.array([0])), const("o", np.array([3]))],
)
bad(
    "divide_by_zero",
    [node("Div", "c z", "d"), node("Reshape", "x d", "y")],
    [const("c", np.array([0, 6])), const("z", np.array([0, 1]))],
)
bad("identity_of_nothing", [helper.make_node("Identity", [""], ["y"], name="y_node")])

# ---- added later: what stands above draws the same numbers as before ----------------------------------------------
good(
    "pad_axes",
    [helper.make_node("Pad", ["x", "p", "", "a"], ["t"]), flat],
    [const("p", np.array([1, 2])), const("a", np.array([-1]))],
    ["N", 1, 2, 2],
    ["N", 10],
    opset=18,
)

# ---- picking, joining, repeating, resizing ------------------------------------------------------------------------
rng = np.random.default_rng(2)  # a section of its own: what stands above keeps its numbers


def layout(name, op, inputs, inits, in_shape, opset=13, **attributes):
    """One operator between the input and a Flatten."""
    good(name, [node(op, inputs, "t", **attributes), flat], inits, ["N", *in_shape], ["N", "K"], opset=opset)


def ints(name, *values):
    return const(name, np.array(values, np.int64))


def floats(name, *values):
    return const(name, np.array(values, np.float32))


layout("slice", "Slice", "x s e a p", [ints("s", -1, 1), ints("e", -9, 3), ints("a", 3, 1), ints("p", -2, 1)], [4, 3, 5])
layout("slice_batch", "Slice", "x s e", [ints("s", 0, 1), ints("e", 2**62, -1)], [4, 3])
layout("slice_attribute", "Slice", "x", [], [4, 3, 5], opset=9, starts=[1, -4], ends=[3, 9], axes=[1, 3])
layout("gather_vector", "Gather", "x i", [ints("i", 2, -1, 0, 0)], [3, 2, 4], axis=1)
layout("gather_scalar", "Gather", "x i", [const("i", np.array(-2))], [3, 2, 4], axis=-1)
layout("gather_matrix", "Gather", "x i", [const("i", np.array([[1, 0, 1], [2, 2, -3]]))], [4, 3], axis=2)
good(
    "split",
    [node("Split", "x s", "a b c", axis=1), node("Concat", "c a b a c b", "t", axis=-1), flat],
    [ints("s", 2, 2, 2)],
    ["N", 6, 3, 2],
    ["N", "K"],
)
good(
    "split_uneven",
    [node("Split", "x", "a b c", axis=2, num_outputs=3), node("Concat", "c a", "t", axis=2), flat],
    [],
    ["N", 2, 7],
    ["N", "K"],
    opset=18,
)
good(
    "concat_constant",
    [
        node("Shape", "x", "d"),
        node("Slice", "d zero one", "n"),
        node("Concat", "n two_three", "s", axis=0),
        node("Expand", "k s", "c"),
        node("Sigmoid", "x", "a"),
        node("Concat", "c a c x x a x", "t", axis=1),
        flat,
    ],
    [const("k", rand(1, 2, 3)), ints("zero", 0), ints("one", 1), ints("two_three", 2, 3)],
    ["N", 4, 3],
    ["N", "K"],
)
layout("expand", "Expand", "x s", [ints("s", 1, 3, 1, 4)], [1, 2, 1])
layout("tile", "Tile", "x r", [ints("r", 1, 2, 1, 3)], [2, 2, 2])
for mode in ("reflect", "edge", "wrap"):
    layout(f"pad_{mode}", "Pad", "x p", [ints("p", 0, 0, 2, 1, 0, 0, 1, 2)], [2, 3, 4], opset=19, mode=mode)
layout("pad_channels", "Pad", "x p v", [ints("p", 0, 1, 0, -1, 0, 2, 1, -2), floats("v", 0.5)], [2, 3, 6])
layout("pad_sequence", "Pad", "x p", [ints("p", 0, 0, 2, 0, 0, 1)], [2, 3])
for mode in ("DCR", "CRD"):
    layout(f"depth_to_space_{mode.lower()}", "DepthToSpace", "x", [], [8, 2, 3], blocksize=2, mode=mode)
layout("space_to_depth", "SpaceToDepth", "x", [], [2, 4, 6], blocksize=2)
layout("global_max_pool", "GlobalMaxPool", "x", [], [3, 4, 5])
layout("max_pool_dilated", "MaxPool", "x", [], [2, 7, 6], kernel_shape=[2, 3], dilations=[2, 1], ceil_mode=1, strides=[2, 2])
layout("average_pool_same", "AveragePool", "x", [], [2, 5, 6], kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")
layout("max_pool_sequence", "MaxPool", "x", [], [2, 9], kernel_shape=[3], strides=[2], pads=[1, 0])
layout("conv_sequence", "Conv", "x w b", [const("w", rand(4, 2, 3)), const("b", rand(4))], [4, 9], group=2, strides=[2], pads=[1, 2])
layout("conv_sequence_same", "Conv", "x w", [const("w", rand(3, 4, 4))], [4, 9], auto_pad="SAME_UPPER", strides=[2])
layout("transpose_five", "Transpose", "x", [], [2, 3, 2, 2], perm=[0, 3, 1, 4, 2])
for way in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
    layout(
        f"resize_nearest_{way}", "Resize", "x r s", [floats("r"), floats("s", 1, 1, 2.5, 0.6)], [2, 3, 5],
        coordinate_transformation_mode=way, mode="nearest",
    )
    layout(
        f"resize_linear_{way}", "Resize", "x r n s", [floats("r"), floats("n"), ints("s", 7, 3)], [2, 3, 5], opset=18,
        coordinate_transformation_mode=way, mode="linear", axes=[2, 3],
    )
layout("resize_ceil", "Resize", "x r s", [floats("r"), floats("s", 1, 1, 1.7, 2)], [2, 3, 4], nearest_mode="ceil")
layout("resize_cubic", "Resize", "x r s", [floats("r"), floats("s", 1, 1, 2, 1.5)], [2, 4, 4], mode="cubic")
layout("resize_old", "Resize", "x s", [floats("s", 1, 1, 0.6, 2)], [2, 5, 3], opset=10)
layout("upsample", "Upsample", "x s", [floats("s", 1, 1, 2, 3)], [2, 2, 3], opset=9)
layout("upsample_linear", "Upsample", "x", [], [2, 2, 3], opset=7, mode="linear", scales=[1.0, 1.0, 2.0, 2.0])


# Functions of the file's own: one calls the other, which takes its slope from the caller or has its default.
def local(name, inputs, outputs, nodes, **more):
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, inputs, outputs, nodes, imports, **more)


leaky = node("LeakyRelu", "t", "y")
leaky.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
scaled_leaky = local(
    "ScaledLeaky", ["x", "k"], ["y"], [node("Mul", "x k", "t"), leaky], attribute_protos=[helper.make_attribute("slope", 0.25)]
)
twice = local(
    "Twice", ["x", "k"], ["z"],
    [node("ScaledLeaky", "x k", "t", domain="local", slope=0.5), node("ScaledLeaky", "t k", "z", domain="local")],
)
good(
    "functions",
    [node("Twice", "x k", "t", domain="local"), node("Twice", "t k", "y", domain="local")],
    [const("k", rand(4))], ["N", 4], ["N", 4], functions=[scaled_leaky, twice],
)

# ---- pooling by another norm -------------------------------------------------------------------------------------
rng = np.random.default_rng(3)
layout("lp_pool", "LpPool", "x", [], [2, 5, 6], opset=11, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
layout("lp_pool_cubic", "LpPool", "x", [], [2, 7], opset=11, kernel_shape=[3], p=3)

# ---- what Keras leaves behind: a mean over one axis of positions, a size that is a product of sizes ----------------
rng = np.random.default_rng(4)
good(
    "reduced_sizes",
    [
        node("GlobalAveragePool", "x", "m"), node("Sub", "x m", "d"), node("Shape", "d", "s"), node("Slice", "s one end", "k"),
        node("ReduceProd", "k", "p", keepdims=1), node("Concat", "minus p", "to", axis=0), node("Reshape", "d to", "y"),
    ],
    [const("one", np.array([1])), const("end", np.array([3])), const("minus", np.array([-1]))],
    ["N", 3, 5], ["N", 15],
)

# ---- volumes, and windows rounded up -----------------------------------------------------------------------------
rng = np.random.default_rng(5)
volume = dict(kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[1, 1, 0, 0, 1, 1])
layout("max_pool_volume", "MaxPool", "x", [], [2, 4, 5, 3], ceil_mode=1, **volume)
layout("average_pool_volume", "AveragePool", "x", [], [2, 4, 5, 3], **volume)
layout("average_pool_channels", "AveragePool", "x", [], [1, 6, 2, 3], kernel_shape=[3, 1, 1], pads=[1, 0, 0, 1, 0, 0], count_include_pad=1)
layout("global_max_pool_volume", "GlobalMaxPool", "x", [], [2, 3, 2, 3])
layout("lp_pool_ceil", "LpPool", "x", [], [2, 6, 7], opset=18, kernel_shape=[3, 2], strides=[2, 3], pads=[0, 1, 1, 0], ceil_mode=1, p=3)

# ---- branches ----------------------------------------------------------------------------------------------------
def branch(name, nodes, *outputs, inits=()):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs], inits)


def choice(condition, output, then, otherwise):
    return node("If", condition, output, then_branch=then, else_branch=otherwise)


truth = const("truth", np.array(True))
# The branch that is not taken holds what parry does not have. Branches call their tensors the same.
inner = choice(
    "truth", "s",
    branch("sum", [node("Add", "x c", "a"), node("Mul", "a k", "s")], "s", inits=[const("c", rand(1, 4))]),
    branch("twice", [node("Add", "x x", "a"), node("Identity", "a", "s")], "s"),
)
good(
    "branches",
    [
        node("Shape", "x", "sizes"), node("Gather", "sizes one", "size"), node("Equal", "size one", "is_one"),
        choice(
            "is_one", "t u",
            branch("drop", [node("Hardmax", "x", "a"), node("Neg", "a", "s")], "a", "s"),
            branch("keep", [inner, node("Relu", "x", "r")], "s", "r"),
        ),
        node("Sub", "t u", "v"), node("Flatten", "v", "y"),
    ],
    [const("one", np.array([1])), const("k", rand(3, 1)), truth], ["N", 3, 4], ["N", "K"],
)
bad(
    "branch_of_the_image",
    [
        node("Greater", "x zero", "positive"),
        choice("positive", "y", branch("a", [node("LSTM", "x", "p")], "p"), branch("b", [node("Neg", "x", "q")], "q")),
    ],
    [const("zero", np.float32(0))],
)
bad("branch_missing", [node("If", "truth", "y", then_branch=branch("a", [node("Neg", "x", "p")], "p"))], [truth])
bad(
    "branch_outputs",
    [choice("truth", "y", branch("a", [node("Split", "x", "p q")], "p", "q"), branch("b", [node("Neg", "x", "p")], "p"))], [truth],
)
bad("branch_unknown", [choice("truth", "y", branch("a", [node("Neg", "none", "p")], "p"), branch("b", [node("Neg", "x", "p")], "p"))], [truth])
nested = branch("innermost", [node("Neg", "x", "p")], "p")
for _ in range(20):
    nested = branch("around", [choice("truth", "p", nested, branch("other", [node("Neg", "x", "p")], "p"))], "p")
bad("branch_deep", [choice("truth", "y", nested, branch("other", [node("Neg", "x", "p")], "p"))], [truth])

# ---- truth values of numbers ---------------------------------------------------------------------------------------
rng = np.random.default_rng(6)
good(
    "truth",
    [
        node("Floor", "x", "f"), node("Cast", "f", "b", to=TensorProto.BOOL), node("Cast", "b", "n", to=TensorProto.FLOAT),
        node("Less", "x zero", "l"), node("Cast", "l", "m", to=TensorProto.BOOL), node("Where", "m x n", "y"),
    ],
    [const("zero", np.float32(0))], ["N", 8], ["N", 8],
)

# ---- the positions of the largest, which nobody reads, or somebody does --------------------------------------------
rng = np.random.default_rng(7)
largest = node("MaxPool", "x", "p i", kernel_shape=[2, 2], strides=[2, 2])
good("max_pool_indices", [largest, node("Shape", "i", "s"), node("Flatten", "p", "y")], [], ["N", 1, 4, 4], ["N", 4])
bad(
    "max_pool_indices", [largest, node("Cast", "i", "j", to=TensorProto.FLOAT), node("Flatten", "j", "y")],
    in_shape=("N", 1, 4, 4), out_shape=("N", 4),
)

# ---- nodes that look inside the batch: the sequence stands first, the batch among the other axes --------------------
rng = np.random.default_rng(8)


def numbers(name, *values):
    return const(name, np.array(values))


good(  # a token for each image in front of its sequence, at a batch of any size
    "sequence_first",
    [
        node("Transpose", "x", "s", perm=[1, 0, 2]), node("Shape", "s", "n"), node("Gather", "n one", "b1", axis=0),
        node("Concat", "one b1 two", "to", axis=0), node("Expand", "token to", "t"),
        node("Concat", "t s", "j", axis=0), node("Add", "j position", "p"), node("Mul", "b1 four", "fb"),
        node("Concat", "fb two", "flat", axis=0), node("Reshape", "p flat", "f"), node("MatMul", "f w", "q"),
        node("Concat", "four b1 two", "back", axis=0), node("Reshape", "q back", "r"), node("Softmax", "r", "a", axis=0),
        node("Mul", "a p", "m"), node("ReduceSum", "m zero", "y", keepdims=0),
    ],
    [numbers("zero", 0), numbers("one", 1), numbers("two", 2), numbers("four", 4), const("token", rand(1, 1, 2)),
     const("position", rand(4, 1, 2)), const("w", rand(2, 2))],
    ["N", 3, 2], ["N", 2], opset=13,
)
good(  # the same with the token as it stands in files for one image, and what else names axes there
    "inside_one_image",
    [
        node("Transpose", "x", "s", perm=[1, 0, 2]), node("Concat", "token s", "j", axis=0), node("Split", "j", "u v", axis=0),
        node("Tile", "u times", "t"), node("Expand", "v wide", "e"), node("Concat", "t e", "k", axis=0),
        node("LayerNormalization", "k scale", "l", axis=1), node("Gather", "l which", "g", axis=0),
        node("Einsum", "g w", "i", equation="tbc,cd->btd"), node("ReduceMax", "i", "r", axes=[1], keepdims=0),
        node("Gemm", "r w2", "y", transB=1),
    ],
    [const("token", rand(1, 1, 4)), numbers("times", 2, 1, 1), numbers("wide", 2, 1, 4), const("scale", rand(4)),
     numbers("which", -1, 0, 3), const("w", rand(4, 3)), const("w2", rand(2, 3))],
    [1, 3, 4], [1, 2], opset=17,
)
good("gemm_of_positions", [node("Squeeze", "x zero", "s"), node("Gemm", "s w b", "g", transB=1), node("ReduceMean", "g", "y", axes=[0])],
     [numbers("zero", 0), const("w", rand(3, 4)), const("b", rand(3))], [1, 5, 4], [1, 3])
row, flat_e = rand(1, 1, 2), node("Flatten", "e", "y")
good("einsum_constant", [node("Einsum", "x w", "t", equation="bij,jk->bki"), node("Einsum", "v t", "e", equation="k,bki->bi"), flat_e],
     [const("w", rand(4, 2)), const("v", rand(2))], ["N", 3, 4], ["N", 3])
good("fixed_batch_token", [node("Concat", "token x", "t", axis=1), flat], [const("token", np.tile(row, (2, 1, 1)))], [2, 3, 2], [2, 8])

bad("fixed_batch_moved", [node("Transpose", "x", "t"), node("Transpose", "t", "y")], in_shape=(2, 6), out_shape=(2, 6))
bad("moved_and_missing", [node("Transpose", "x", "t"), node("LSTM", "t", "a"), node("Transpose", "a", "y")])
bad("moved_too_far", [node("Reshape", "x s", "r"), node("Transpose", "r", "t"), flat], [numbers("s", 1, 1, 1, 1, 1, 1, 6, 1)])
bad("image_moved", [node("Transpose", "x", "t", perm=[1, 0, 2, 3]), node("Conv", "t w", "y")], [const("w", rand(2, 1, 1, 1))],
    ["N", 4, 2, 2], ["N", 8])

# ---- shrinking with antialiasing -----------------------------------------------------------------------------------
rng = np.random.default_rng(9)
for name, more in (("half_pixel", {}), ("outside", {"exclude_outside": 1}), ("align_corners", {})):
    layout(
        f"resize_antialias_{name}", "Resize", "x r n s", [floats("r"), floats("n"), ints("s", 3, 8)], [2, 11, 5], opset=18, mode="linear",
        antialias=1, axes=[2, 3], coordinate_transformation_mode=name if name != "outside" else "half_pixel", **more,
    )
layout("resize_antialias_scales", "Resize", "x r s", [floats("r"), floats("s", 1, 1, 0.6, 0.35)], [1, 7, 9], opset=19, mode="linear", antialias=1)
for name, shape, scale in (("cubic", (1, 6, 6), 0.5), ("linear", (1, 80, 80), 0.0125)):
    bad(
        f"antialias_{name}",
        [node("Resize", "x r s", "t", mode=name, antialias=1), node("Flatten", "t", "y")],
        [floats("r"), floats("s", 1, 1, scale, scale)], ("N", *shape), ("N", "K"), opset=18,
    )

# ---- the only image of a batch -------------------------------------------------------------------------------------
rng = np.random.default_rng(10)
picked = [
    node("Gather", "x last", "g", axis=0), node("Unsqueeze", "g zero", "g1"), node("Slice", "g1 minus huge zero", "s"),
    node("Slice", "s minus before zero minus", "r"), node("Split", "r one", "p", axis=0), node("Concat", "p", "c", axis=0),
]
reduced = [  # a batch norm of its own
    node("ReduceMean", "c", "m", axes=[0, 2], keepdims=1), node("Sub", "c m", "d"), node("ReduceMax", "d", "top", keepdims=0),
    node("Div", "d top", "e"), node("ReduceL2", "e", "long", axes=[1, 2], keepdims=0), node("Div", "e long", "u"), node("Squeeze", "u", "q"), node("Expand", "q wide", "w"), node("Tile", "w once", "t"),
]
scores = [node("Reshape", "t flat", "f"), node("MatMul", "f v", "y")]
only = [
    const("last", np.array(-1)), numbers("minus", -1), numbers("huge", 2**62), numbers("zero", 0), numbers("one", 1), numbers("before", -9),
    numbers("wide", 1, 3, 4), numbers("once", 1, 1, 1), numbers("flat", 12), const("v", rand(12, 2)),
]
good("only_image", picked + reduced + scores, only, [1, 3, 4], [2], each=3)
good(  # torch.stack([f(x[i]) for i in range(len(x))]), then a product of the batch with itself
    "only_image_stacked",
    [
        node("Gather", "x first", "g", axis=0), node("Unsqueeze", "g zero", "u"), node("Concat", "u", "c", axis=0), node("Transpose", "c", "t"),
        node("MatMul", "t c", "p"), node("Softmax", "c", "s", axis=0), node("ArgMax", "c", "n", axis=0), node("Cast", "n", "nf", to=1),
        node("Add", "s nf", "a"), node("MatMul", "a p", "m"), node("Gather", "m first", "y", axis=0),
    ],
    [const("first", np.array(0)), numbers("zero", 0)], [1, 4], [4], each=3,
)
good(  # of an open batch all images, by the size that the file asks for
    "open_batch_whole",
    [node("Shape", "x", "n"), node("Slice", "n zero one", "n0"), node("Slice", "x zero n0 zero", "s"), node("Slice", "s zero huge zero", "r"), node("Relu", "r", "y")],
    [numbers("zero", 0), numbers("one", 1), numbers("huge", 2**62)], ["N", 5], ["N", 5],
)
bad("open_batch_picked", [node("Gather", "x first", "g"), node("Unsqueeze", "g zero", "y")], [const("first", np.array(0)), numbers("zero", 0)])
bad("open_batch_cut", [node("Slice", "x zero one zero", "y")], [numbers("zero", 0), numbers("one", 1)])
bad("open_batch_last", [node("Shape", "x", "n"), node("Slice", "n zero one", "n0"), node("Sub", "n0 one", "f"), node("Slice", "x f n0 zero", "y")],
    [numbers("zero", 0), numbers("one", 1)])
bad("fixed_batch_picked", [node("Gather", "x first", "g"), node("Unsqueeze", "g zero", "y")], [const("first", np.array(0)), numbers("zero", 0)],
    in_shape=(2, 6), out_shape=(1, 6))

# ---- images of any size --------------------------------------------------------------------------------------------
# As bad files, since nothing in them says the size; read with a declared one they are good for N x 5 x 7 pixels.
rng = np.random.default_rng(11)
counted = [  # the mean of the pixels by arithmetic of shapes
    node("Shape", "r", "s"), node("Slice", "s zero two", "nc"), node("Concat", "nc minus", "to", axis=0), node("Reshape", "r to", "p"),
    node("ReduceSum", "p two", "t", keepdims=0), node("Gather", "s two", "h"), node("Gather", "s three", "w"), node("Mul", "h w", "hw"),
    node("Cast", "hw", "area", to=1), node("Div", "t area", "m"), node("Gemm", "m v b", "y"),
]
good("bad_open_image", [node("Conv", "x k", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), *counted],
     [const("k", rand(4, 3, 3, 3)), numbers("zero", 0), numbers("two", 2), numbers("three", 3), numbers("minus", -1), const("v", rand(4, 2)),
      const("b", rand(2))], ["N", 3, "H", "W"], ["N", 2], sizes={"H": 5, "W": 7})
good("bad_open_image_last", [node("MatMul", "x k", "c"), node("Relu", "c", "r"), node("ReduceMax", "r", "y", axes=[1, 2], keepdims=0)],
     [const("k", rand(3, 2))], ["N", "H", "W", 3], ["N", 2], sizes={"H": 5, "W": 7})

# ---- what tf2onnx writes for Keras' exact gelu: no operator of ONNX ------------------------------------------------
good(
    "erfc_of_tf2onnx",
    [node("Erfc", "x", "e"), node("Flatten", "e", "y")],
    [const("one", np.float32(1))],
    ["N", 2, 3, 3], ["N", 18],
    instead=[node("Erf", "x", "f"), node("Sub", "one f", "e"), node("Flatten", "e", "y")],
)
