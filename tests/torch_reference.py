"""What PyTorch makes of a network: logits and the gradient of the cross-entropy with respect to the input.

    torch_reference.py golden DATA > FILE   golden vectors of the networks below DATA (tests/golden/third_party.txt)
    torch_reference.py live FOLDER FILE...  the same in full for given ONNX files, with their weights drawn at random where
                                            these are ConstantOfShape nodes: FOLDER/NAME.{onnx,input,labels,logits,gradient}
    torch_reference.py export FOLDER NAME.. torchvision's architectures with random weights, exported, likewise; a name
                                            that ends in .dynamo by PyTorch's newer exporter

An ONNX file is run by the small interpreter below, node by node, in PyTorch. The images are those of the file's test_data_set
(of none: random) and copies of them with noise; each image's label is not the network's own. The gradients are computed in
double precision. An image is left out ("kink") when the gradient in single precision, or in double precision with the image and all
weights moved by up to half a part in a million (four draws), disagrees with that by more than 2e-4 in relative L2: then it lies so close
to a ReLU's kink or a pooling tie that rounding decides which side the gradient belongs to. (One flipped unit of a layer of n changes
a gradient by about 1/sqrt(n). Random weights at full image size flip some of millions in any implementation, so such architectures
are compared at small sizes.)

Exit status 77: PyTorch or onnx is not installed.
"""

import pathlib
import sys

try:
    import numpy as np
    import onnx
    import torch
    import torch.nn.functional as F
    from onnx import numpy_helper
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

IMAGES, DIRECTIONS, KINK, MOVE = 6, 16, 2e-4, 5e-7
torch.manual_seed(1)
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # has no ONNX form


# ---- numbers that the C test makes again ----------------------------------------------------------------------------
def hashed(values):
    """splitmix64"""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def unit(stream, count):
    """float32 in [0, 1)"""
    bits = hashed(np.arange(count, dtype=np.uint64) + np.uint64(stream) * np.uint64(1 << 32)) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2.0**-24)


def images_from(x, count=IMAGES):
    """count images: those of x in turn; from the second round on with noise of a quarter of x's range"""
    x = np.ascontiguousarray(x, np.float32)
    reach = np.float32(0.25) * (x.max() - x.min())
    out = []
    for i in range(count):
        image = x[i % len(x)]
        if i >= len(x):
            noise = unit(i, image.size).reshape(image.shape) - np.float32(0.5)
            image = image + reach * noise
        out.append(image)
    return np.stack(out).astype(np.float32)


def directions(count):
    """DIRECTIONS x count signs"""
    which = np.arange(count, dtype=np.uint64)[None, :] * np.uint64(DIRECTIONS) + np.arange(DIRECTIONS, dtype=np.uint64)[:, None]
    return np.where(hashed(which) & np.uint64(1), 1.0, -1.0)


# ---- the interpreter ------------------------------------------------------------------------------------------------
def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def padded(x, a, kernel, stride, value):
    """x with the node's pads, all of them explicit"""
    auto = a.get("auto_pad", b"NOTSET").decode()
    size, axes = x.shape[2:], len(kernel)
    pads = list(a.get("pads", [0] * 2 * axes))
    if auto.startswith("SAME"):
        for i in range(axes):
            total = max((-(-size[i] // stride[i]) - 1) * stride[i] + kernel[i] - size[i], 0)
            low = total // 2 if auto == "SAME_UPPER" else total - total // 2
            pads[i], pads[axes + i] = low, total - low
    flat = [p for i in reversed(range(axes)) for p in (pads[i], pads[axes + i])]
    return F.pad(x, flat, value=value) if any(flat) else x


def pool(x, a, largest):
    kernel = a["kernel_shape"]
    stride = a.get("strides", [1] * len(kernel))
    ceil = bool(a.get("ceil_mode", 0))
    if ceil:  # what is cut off from the last window counts as padding that no mean sees
        pads, extra = list(a.get("pads", [0] * 4)), [0, 0]
        for i in range(2):
            room = x.shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]
            steps = -(-room // stride[i])
            steps -= steps * stride[i] >= x.shape[2 + i] + pads[i]
            extra[i] = max(steps * stride[i] - room, 0)
        a = {**a, "pads": [pads[0], pads[1], pads[2] + extra[0], pads[3] + extra[1]]}
    if largest:
        return F.max_pool2d(padded(x, a, kernel, stride, -torch.inf), kernel, stride)
    total = F.avg_pool2d(padded(x, a, kernel, stride, 0.0), kernel, stride, divisor_override=1)
    if a.get("count_include_pad", 0) and not ceil:
        return total / (kernel[0] * kernel[1])
    ones = padded(torch.ones_like(x[:1, :1]), a, kernel, stride, 0.0)
    return total / F.avg_pool2d(ones, kernel, stride, divisor_override=1)


def conv(x, w, b, a):
    kernel = list(w.shape[2:])
    stride = a.get("strides", [1] * len(kernel))
    x = padded(x, a, kernel, stride, 0.0)
    return F.conv2d(x, w, b, stride, 0, a.get("dilations", [1] * len(kernel)), a.get("group", 1))


def sliced(x, starts, ends, axes=None, steps=None):
    for i, axis in enumerate(axes if axes is not None else range(len(starts))):
        axis, step = int(axis) % x.dim(), int(steps[i]) if steps is not None else 1
        start, end, _ = slice(int(starts[i]), int(ends[i]), step).indices(x.shape[axis])
        x = x.index_select(axis, torch.arange(start, end, step))
    return x


def reshaped(x, shape):
    return x.reshape([x.shape[i] if d == 0 else int(d) for i, d in enumerate(shape)])


def lrn(x, a):
    return F.local_response_norm(x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0))


def gemm(x, w, b, a):
    y = a.get("alpha", 1.0) * ((x.T if a.get("transA") else x) @ (w.T if a.get("transB") else w))
    return y if b is None else y + a.get("beta", 1.0) * b


def clip(x, low, high, a):
    return x.clamp(low if low is not None else a.get("min"), high if high is not None else a.get("max"))


def batch_norm(x, scale, shift, mean, var, a):
    return F.batch_norm(x, mean, var, scale, shift, False, 0, a.get("epsilon", 1e-5))


def flatten(x, a):
    axis = a.get("axis", 1) % (x.dim() + 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def unsqueezed(x, axes):
    for axis in sorted(int(v) % (x.dim() + len(axes)) for v in axes):
        x = x.unsqueeze(axis)
    return x


def pad_node(x, pads, value):
    flat = [int(p) for i in reversed(range(x.dim())) for p in (pads[i], pads[x.dim() + i])]
    return F.pad(x, flat, value=float(value) if value is not None else 0.0)


OPS = {
    "Conv": lambda i, a: conv(i[0], i[1], i[2], a),
    "Gemm": lambda i, a: gemm(i[0], i[1], i[2], a),
    "MatMul": lambda i, a: i[0] @ i[1],
    "BatchNormalization": lambda i, a: batch_norm(*i[:5], a),
    "Relu": lambda i, a: F.relu(i[0]),
    "Sigmoid": lambda i, a: torch.sigmoid(i[0]),
    "Clip": lambda i, a: clip(i[0], i[1], i[2], a),
    "LRN": lambda i, a: lrn(i[0], a),
    "MaxPool": lambda i, a: pool(i[0], a, True),
    "AveragePool": lambda i, a: pool(i[0], a, False),
    "GlobalAveragePool": lambda i, a: i[0].mean((2, 3), keepdim=True),
    "Add": lambda i, a: i[0] + i[1],
    "Sub": lambda i, a: i[0] - i[1],
    "Mul": lambda i, a: i[0] * i[1],
    "Div": lambda i, a: i[0] / i[1],
    "Sum": lambda i, a: sum(v for v in i if v is not None),
    "Concat": lambda i, a: torch.cat([v for v in i if v is not None], a["axis"]),
    "Reshape": lambda i, a: reshaped(i[0], i[1]),
    "Flatten": lambda i, a: flatten(i[0], a),
    "Transpose": lambda i, a: i[0].permute(a["perm"]),
    "Unsqueeze": lambda i, a: unsqueezed(i[0], a["axes"] if "axes" in a else i[1]),
    "Gather": lambda i, a: i[0].index_select(a.get("axis", 0), i[1].reshape(-1)).reshape(
        i[0].shape[: a.get("axis", 0)] + i[1].shape + i[0].shape[a.get("axis", 0) + 1 :]
    ),
    "Slice": lambda i, a: sliced(*i[:5]) if "starts" not in a else sliced(i[0], a["starts"], a["ends"], a.get("axes")),
    "Pad": lambda i, a: pad_node(i[0], a["pads"] if "pads" in a else i[1], i[2]),
    "Shape": lambda i, a: torch.tensor(i[0].shape),
    "Identity": lambda i, a: i[0],
    "Dropout": lambda i, a: i[0],
    "Softmax": lambda i, a: F.softmax(i[0].flatten(1), 1).reshape(i[0].shape),
}


def constant(tensor):
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


class Network:
    """An ONNX file; called with a batch it gives the logits, a Softmax at the end left out."""

    def __init__(self, path):
        self.graph = onnx.load(path).graph
        self.nodes = list(self.graph.node)
        self.weights = {t.name: constant(t) for t in self.graph.initializer}
        self.input = next(i for i in self.graph.input if i.name not in self.weights)
        self.shape = [d.dim_value for d in self.input.type.tensor_type.shape.dim]
        for node in self.nodes:
            a = attributes(node)
            if node.op_type == "Constant":
                self.weights[node.output[0]] = constant(a["value"])
            if node.op_type == "ConstantOfShape":
                size = [int(v) for v in self.weights[node.input[0]]]
                fill = constant(a["value"]) if "value" in a else torch.zeros(1)
                self.weights[node.output[0]] = fill.expand(size).clone()
        self.nodes = [n for n in self.nodes if n.op_type not in ("Constant", "ConstantOfShape")]
        self.output = self.graph.output[0].name
        if self.nodes[-1].op_type == "Softmax" and self.nodes[-1].output[0] == self.output:
            self.output = self.nodes.pop().input[0]

    def double(self):
        self.weights = {k: v.double() if v.is_floating_point() else v for k, v in self.weights.items()}

    def one(self, x):
        values = {**self.weights, self.input.name: x}
        for node in self.nodes:
            inputs = [values[name] if name else None for name in node.input]
            values[node.output[0]] = OPS[node.op_type](inputs + [None] * (6 - len(inputs)), attributes(node))
        return values[self.output].reshape(1, -1)

    def __call__(self, x):
        return torch.cat([self.one(image[None]) for image in x])  # files with a fixed batch of 1 take one image at a time


def parameters_of(network):
    if isinstance(network, Network):
        return [w for w in network.weights.values() if w.is_floating_point()]
    return list(network.parameters())


# ---- the reference --------------------------------------------------------------------------------------------------
def gradients(network, x, labels):
    """Per image, of its own cross-entropy."""
    out = []
    for image, label in zip(x, labels):
        leaf = image[None].clone().requires_grad_(True)
        F.cross_entropy(network(leaf), torch.tensor([label])).backward()
        out.append(leaf.grad[0].double().numpy().ravel())
    return np.stack(out)


def moved(tensor):
    return tensor * (1 + MOVE * (2 * torch.rand(tensor.shape, dtype=torch.float64) - 1))


def reference(network, x):
    """logits, labels, gradients in double precision, and whether each image is at a kink"""
    x = torch.from_numpy(x)
    with torch.no_grad():
        logits = network(x).double().numpy()
    labels = [(int(np.argmax(row)) + 1 + i) % logits.shape[1] for i, row in enumerate(logits)]
    single = gradients(network, x, labels)
    network.double()
    x = x.double()
    double = gradients(network, x, labels)
    others = [single]
    for _ in range(4):
        kept = [w.clone() for w in parameters_of(network)]
        for w in parameters_of(network):
            w.copy_(moved(w))
        others.append(gradients(network, moved(x), labels))
        for w, value in zip(parameters_of(network), kept):
            w.copy_(value)
    apart = np.max([np.linalg.norm(other - double, axis=1) for other in others], axis=0)
    return logits, labels, double, apart > KINK * np.linalg.norm(double, axis=1)


def test_input(path):
    folders = [path.with_suffix("").with_name(path.stem + ".test_data_set_0"), path.parent / "test_data_set_0"]
    for folder in folders:
        if (folder / "input_0.pb").exists():
            tensor = onnx.TensorProto()
            tensor.ParseFromString((folder / "input_0.pb").read_bytes())
            return numpy_helper.to_array(tensor)
    return None


def golden(data):
    found = sorted((data / "models").rglob("*.onnx")) + sorted((data / "vnncomp").rglob("*.onnx"))
    print("# Gradients of the cross-entropy with respect to the input, by tests/torch_reference.py, which says how: per")
    print(f"# network its images, per image its label, the gradient's L2 norm and {DIRECTIONS} projections; \"kink\" leaves one out.")
    print(f"# Made with PyTorch {torch.__version__.split('+')[0]}, onnx {onnx.__version__}.")
    for path in found:
        if "onnx-light" in path.parts:
            continue  # constant weights: the gradient is zero but for rounding
        network = Network(path)
        x = images_from(test_input(path))
        _, labels, grads, kinks = reference(network, x)
        print(path.relative_to(data).with_suffix(""), len(x))
        for label, grad, kink in zip(labels, grads, kinks):
            numbers = [np.linalg.norm(grad), *(directions(grad.size) @ grad)]
            print(label, "kink" if kink else " ".join(f"{v:.8g}" for v in numbers))


def write(folder, name, x, logits, labels, grads, kinks):
    x.astype(np.float32).tofile(folder / f"{name}.input")
    np.array([-1 if k else v for v, k in zip(labels, kinks)], np.int32).tofile(folder / f"{name}.labels")
    logits.astype(np.float32).tofile(folder / f"{name}.logits")
    grads.astype(np.float32).tofile(folder / f"{name}.gradient")


def random_weights(path, folder):
    """The file with ConstantOfShape weights replaced by random ones that keep activations of size about 1."""
    model = onnx.load(path)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    role = {}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            role.update(zip(node.input[1:5], ("scale", "shift", "mean", "var")))
    kept, rng = [], np.random.default_rng(1)
    inputs = {i.name for i in model.graph.input}
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        size = [int(v) for v in shapes[node.input[0]]]
        w = rng.standard_normal(size) * (2.0 / max(np.prod(size[1:]), 1)) ** 0.5
        what = role.get(node.output[0], "vector" if len(size) == 1 else "kernel")
        w = {"kernel": w, "vector": 0.1 * w, "scale": 1 + 0.1 * w, "shift": 0.1 * w, "mean": 0.1 * w, "var": 1 + 0.1 * w**2}[what]
        model.graph.initializer.append(numpy_helper.from_array(w.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    name = path.parent.name if path.stem == "model" else path.stem
    onnx.save(model, folder / f"{name}.onnx")
    return name


def live(folder, files):
    for path in map(pathlib.Path, files):
        name = random_weights(path, folder)
        network = Network(folder / f"{name}.onnx")
        given = test_input(path)
        if path.stem == "model":  # a ramp is the test input of these: numbers of a picture's size instead
            given = (unit(99, given.size).reshape(given.shape) - np.float32(0.5)) * np.float32(4)
        x = images_from(given)
        write(folder, name, x, *reference(network, x))


SIZES = {"inception_v3": 75, "vit_b_16": 224, "swin": 64}  # no smaller ones fit; of the rest 32


def small_swin():
    """Shifted windows, merged patches and all, of a size for a test."""
    from torchvision.models.swin_transformer import SwinTransformer

    return SwinTransformer([4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=20)


def small_convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 1)], num_classes=20)


def architecture(name):
    import torchvision

    small = {"swin": small_swin, "convnext": small_convnext}
    if name in small:
        return small[name]()
    more = {"aux_logits": False, "init_weights": True, "transform_input": True} if name == "inception_v3" else {}
    return getattr(torchvision.models, name)(weights=None, **more)


def export(folder, names):
    for name in names:
        base, dynamo = name.removesuffix(".dynamo"), name.endswith(".dynamo")
        size = SIZES.get(base, 32)
        network = architecture(base).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        shape = (1, 3, size, size)
        with torch.no_grad():  # batch norms as after some training
            network.train()(torch.randn(16, *shape[1:]))
        network.eval()
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        moving = {"dynamic_shapes": {"x": {0: "N"}}} if dynamo else {"dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}
        torch.onnx.export(
            network, (torch.zeros(2, *shape[1:]),), str(folder / f"{name}.onnx"), dynamo=dynamo,
            opset_version=18 if dynamo else 17, input_names=["x"], output_names=["y"], **moving,
        )
        x = images_from((unit(99, int(np.prod(shape))).reshape(shape) - np.float32(0.5)) * np.float32(4), 16)
        write(folder, name, x, *reference(network, x))


if sys.argv[1] == "golden":
    golden(pathlib.Path(sys.argv[2]))
else:
    {"live": live, "export": export}[sys.argv[1]](pathlib.Path(sys.argv[2]), sys.argv[3:])
