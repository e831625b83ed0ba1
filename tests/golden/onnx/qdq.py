"""Makes qdq_*.onnx: small random networks in 8 bits, as onnxruntime's static quantisation writes them (QuantizeLinear, DequantizeLinear).

Usage: python qdq.py FOLDER (needs torch, onnx and onnxruntime). The metadata is that of blocks.py, but "test.output" is onnxruntime's,
with its graph optimisations off, and "test.gradient" comes from the quantised file, run node by node in PyTorch in double precision: the
derivative of QuantizeLinear is 1/scale where low <= x/scale + zero point <= high, the ends of the type's range, and 0 elsewhere. Images
are drawn until no number that is rounded lies within MARGIN of a tie or of the range's end: there the last bit of a sum decides. Made with torch 2.15.0, onnx 1.23.2, onnxruntime 1.31.1.
"""

import io
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn
from torch.nn import functional as F

IMAGES, MARGIN = 2, 5e-5
SHAPE = (3, 16, 16)
torch.manual_seed(1)
torch.set_num_threads(1)


# ---- the networks ----------------------------------------------------------------------------------------------------
def conv(i, o, k=1, s=1, g=1):
    layers = nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o))
    nn.init.uniform_(layers[1].weight, 0.8, 1.6)
    nn.init.normal_(layers[1].bias, std=0.3)
    return layers


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, 3), nn.ReLU())
        self.block = nn.Sequential(conv(8, 16), nn.ReLU6(), conv(16, 16, 3, 1, 16), nn.ReLU6(), conv(16, 8))
        self.down = nn.Sequential(nn.MaxPool2d(2), conv(8, 16, 3, 2), nn.ReLU())
        self.wide = nn.Sequential(conv(16, 16, 3), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.down(F.relu(x + self.block(x)))
        x = x + self.wide(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Attention(nn.Module):
    def __init__(self, width=16, heads=2, tokens=16):
        super().__init__()
        self.heads, self.width, self.tokens = heads, width, tokens
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(torch.randn(1, tokens, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        for norm in self.norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        self.parts = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 5)

    def attention(self, x):
        q, k, v = (p(x).reshape(-1, self.tokens, self.heads, self.width // self.heads).transpose(1, 2) for p in self.parts[:3])
        scores = (q @ k.transpose(-2, -1)).softmax(-1)
        return self.parts[3]((scores @ v).transpose(1, 2).reshape(-1, self.tokens, self.width))

    def forward(self, x):
        x = self.patches(x).reshape(-1, self.width, self.tokens).transpose(1, 2) + self.position
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x).mean(1))


# ---- quantisation ----------------------------------------------------------------------------------------------------
class Samples(CalibrationDataReader):
    def __init__(self):
        self.left = [torch.rand(1, *SHAPE).numpy() for _ in range(16)]

    def get_next(self):
        return {"x": self.left.pop()} if self.left else None


def quantised(model, activations, per_channel):
    with torch.no_grad():
        model.train()(torch.rand(64, *SHAPE))  # batch norms get statistics
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        model(torch.rand(64, *SHAPE))
    file = io.BytesIO()
    torch.onnx.export(model.eval(), (torch.rand(1, *SHAPE),), file, input_names=["x"], output_names=["y"], opset_version=17, dynamo=False,
                      dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    with tempfile.TemporaryDirectory() as folder:
        plain, out = (pathlib.Path(folder) / name for name in ("plain.onnx", "out.onnx"))
        plain.write_bytes(file.getvalue())
        quantize_static(plain, out, Samples(), quant_format=QuantFormat.QDQ, per_channel=per_channel, activation_type=activations,
                        weight_type=QuantType.QInt8)
        return onnx.load(out)


# ---- the reference ---------------------------------------------------------------------------------------------------
LIMITS = {np.dtype(np.uint8): (0, 255), np.dtype(np.int8): (-128, 127)}


class Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, low, high):
        steps = x / scale
        ctx.save_for_backward((steps >= low) & (steps <= high))
        ctx.scale = scale
        return steps.round().clamp(low, high)

    @staticmethod
    def backward(ctx, dy):
        return torch.where(ctx.saved_tensors[0], dy / ctx.scale, 0), None, None, None


class Reference:
    """The file, node by node, in double precision; `near`: how close the last image came to what rounding decides."""

    def __init__(self, model):
        self.nodes, self.near = model.graph.node, np.inf
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def watch(self, distance):
        if distance.numel() and distance.requires_grad:  # what the file alone decides is the same for everyone
            self.near = min(self.near, distance.detach().abs().min().item())

    def quantize(self, i, raw):
        zero = raw[2] if len(raw) > 2 else np.uint8(0)
        low, high = (float(end) - float(zero) for end in LIMITS[np.asarray(zero).dtype])
        steps = i[0] / i[1]
        inside = steps[(steps > low - 1) & (steps < high + 1) & (steps != 0)]  # 0 is exact
        self.watch(inside - inside.floor() - 0.5)
        if low != 0 or steps.min() < 0:  # what is never negative is on one side of 0
            self.watch(inside - low)
        self.watch(inside - high)
        return Quantize.apply(i[0], i[1], low, high) + float(zero)

    def dequantize(self, i, axis):
        shape = [-1 if d == axis else 1 for d in range(i[0].dim())] if i[1].numel() > 1 else []
        zero = i[2] if len(i) > 2 else torch.zeros_like(i[1])
        return (i[0] - zero.reshape(shape)) * i[1].reshape(shape)

    def node(self, n, i, raw):
        a = {x.name: onnx.helper.get_attribute_value(x) for x in n.attribute}
        return {
            "QuantizeLinear": lambda: self.quantize(i, raw),
            "DequantizeLinear": lambda: self.dequantize(i, a.get("axis", 1)),
            "Conv": lambda: F.conv2d(i[0], i[1], i[2], a["strides"], a["pads"][:2], a["dilations"], a["group"]),
            "Gemm": lambda: i[0] @ (i[1].T if a.get("transB") else i[1]) + i[2],
            "MatMul": lambda: i[0] @ i[1],
            "Relu": lambda: F.relu(i[0]),
            "Clip": lambda: i[0].clamp(i[1], i[2]),
            "Add": lambda: i[0] + i[1],
            "Softmax": lambda: F.softmax(i[0], a["axis"]),
            "LayerNormalization": lambda: F.layer_norm(i[0], i[1].shape, i[1], i[2], a["epsilon"]),
            "MaxPool": lambda: F.max_pool2d(i[0], a["kernel_shape"], a["strides"]),
            "GlobalAveragePool": lambda: i[0].mean((2, 3), keepdim=True),
            "ReduceMean": lambda: i[0].mean(a["axes"], keepdim=bool(a["keepdims"])),
            "Flatten": lambda: i[0].flatten(1),
            "Reshape": lambda: i[0].reshape([i[0].shape[d] if s == 0 else int(s) for d, s in enumerate(raw[1])]),
            "Transpose": lambda: i[0].permute(a["perm"]),
        }[n.op_type]()

    def __call__(self, x):
        self.near = np.inf
        values = {k: torch.from_numpy(v.astype(np.float64)) for k, v in self.constants.items()}
        values["x"] = x
        for n in self.nodes:
            if n.op_type != "Constant":
                values[n.output[0]] = self.node(n, [values[k] for k in n.input], [self.constants.get(k) for k in n.input])
        return values["y"]


def drawn(reference):
    short = torch.tensor([k / 100 for k in range(101) if k % 10])  # k / 10 in steps of 1/255 lies near a tie
    for _ in range(2000):
        x = short[torch.randint(len(short), (1, *SHAPE))].double().requires_grad_(True)
        reference(x)
        if reference.near > MARGIN:
            return x.detach()
    raise SystemExit(f"no image is far from every tie; the last one is {reference.near} away")


def write(name, model, activations, per_channel):
    file = quantised(model, activations, per_channel)
    file.ClearField("metadata_props")
    del file.graph.value_info[:]
    reference = Reference(file)
    x = torch.cat([drawn(reference) for _ in range(IMAGES)]).requires_grad_(True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file.SerializeToString(), options)
    y = session.run(None, {"x": x.detach().float().numpy()})[0]
    mine = reference(x)
    apart = np.abs(mine.detach().numpy() - y).max() / max(1, np.abs(y).max())
    assert apart < 1e-5, f"{name}: the reference is {apart} away from onnxruntime"
    cotangent = torch.randn(mine.shape).double()
    (gradient,) = torch.autograd.grad(mine, x, cotangent)
    for key, value in (("input", x.detach()), ("output", y), ("cotangent", cotangent), ("gradient", gradient)):
        entry = file.metadata_props.add()
        entry.key, entry.value = f"test.{key}", " ".join(str(v) for v in np.asarray(value, np.float32).ravel())
    onnx.save(file, f"{sys.argv[1]}/qdq_{name}.onnx")


for name, kind in (("cnn", Residual), ("attention", Attention)):
    write(name, kind(), QuantType.QUInt8, False)
    write(f"{name}_channels", kind(), QuantType.QInt8, True)
