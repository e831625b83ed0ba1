#!/usr/bin/env python3
"""Speeds of PyTorch and ONNX Runtime on the networks that bench_engine measures.

    peers.py [--threads 2] [--rounds 7] [--seconds 0.3] [--only WORD ...]
             [--between COMMAND] [NETWORK:BATCH ...]

Networks: simplecnn (the tutorial's), resnet20 (CIFAR's 32 x 32), resnet18,
resnet50, inception_v3 (torchvision's, 224 and 299 pixels).  Workloads: `train`
(simplecnn alone: forward, cross-entropy, backward, Adam), `inference`, and
`input-gradient` (evaluation mode, no weight gradients: one step of PGD), each
for PyTorch with contiguous and channels_last tensors; `inference` for ONNX
Runtime with its default graph optimisations.  A peer that is not installed is
skipped with a note on stderr.

All cases take turns, round by round, so that a noisy neighbour slows them
alike; `--between` runs a command after each round (our own benchmark, say) and
passes its output through, so that ratios come from the same minutes.  At the
end one JSON line per case gives the median over the rounds.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np


USUAL = ["simplecnn:64", "simplecnn:256", "resnet20:128", "resnet50:8", "resnet50:1"]


def torch_network(name):
    """The network in evaluation mode, and the shape of its images and scores."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class SimpleCNN(nn.Module):
        def __init__(self):
            super().__init__()
            norm = {"eps": 1e-3, "momentum": 0.01}  # 1 - the tutorial's 0.99
            self.conv1 = nn.Conv2d(1, 32, 3, stride=2)
            self.bn1 = nn.BatchNorm2d(32, **norm)
            self.conv2 = nn.Conv2d(32, 64, 3, stride=2)
            self.bn2 = nn.BatchNorm2d(64, **norm)
            self.dense1 = nn.Linear(7 * 7 * 64, 128)
            self.bn3 = nn.BatchNorm1d(128, **norm)
            self.drop = nn.Dropout(0.5)
            self.dense2 = nn.Linear(128, 10)

        def forward(self, x):
            same = (0, 1, 0, 1)  # TensorFlow's "same" with stride 2 pads after
            x = self.bn1(F.relu(self.conv1(F.pad(x, same))))
            x = self.bn2(F.relu(self.conv2(F.pad(x, same))))
            x = self.bn3(F.relu(self.dense1(x.flatten(1))))
            return self.dense2(self.drop(x))

    class Block(nn.Module):
        def __init__(self, c_in, c_out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(c_out)
            self.downsample = nn.Sequential()
            if stride != 1:
                self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            y = self.bn2(self.conv2(y))
            return F.relu(y + self.downsample(x), inplace=True)

    def resnet20():
        layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
        for width in (16, 32, 64):
            for block in range(3):
                first = block == 0 and width > 16
                layers.append(Block(width // 2 if first else width, width, 2 if first else 1))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

    if name == "simplecnn":
        return SimpleCNN().eval(), (1, 28, 28), 10
    if name == "resnet20":
        return resnet20().eval(), (3, 32, 32), 10
    import torchvision

    side = 299 if name == "inception_v3" else 224
    words = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    return getattr(torchvision.models, name)(**words).eval(), (3, side, side), 1000


def torch_cases(cases, threads):
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    tell = {"peer": "pytorch", "version": torch.__version__}

    def make(name, workload, batch, layout):
        fmt = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        net, shape, classes = torch_network(name)
        net = net.to(memory_format=fmt)
        x = torch.rand(batch, *shape).to(memory_format=fmt)
        y = torch.randint(classes, (batch,))
        if workload == "train":
            net.train()
            adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

            def step():
                adam.zero_grad(set_to_none=True)
                F.cross_entropy(net(x), y).backward()
                adam.step()

        elif workload == "inference":

            def step():
                with torch.inference_mode():
                    net(x)

        else:
            net.requires_grad_(False)
            x.requires_grad_(True)

            def step():
                torch.autograd.grad(F.cross_entropy(net(x), y, reduction="sum"), x)

        return dict(tell, network=name, workload=workload, batch=batch, layout=layout), step

    for name, batch in cases:
        for workload in ("train", "input-gradient", "inference"):
            for layout in ("nchw", "nhwc"):
                if workload != "train" or name == "simplecnn":
                    yield make(name, workload, batch, layout)


def simple_cnn_onnx():
    """SimpleCNN with random weights as a serialised ONNX model."""
    from onnx import TensorProto, checker, helper, numpy_helper

    rng = np.random.default_rng(1)
    weights, nodes = [], []

    def weight(name, *shape, scale=0.05, shift=0.0):
        value = shift + scale * rng.standard_normal(shape)
        weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def relu_norm(x, tag, channels):
        x = add("Relu", [x], "relu" + tag)
        stats = [
            weight("scale" + tag, channels, shift=1.0),
            weight("shift" + tag, channels),
            weight("mean" + tag, channels),
            weight("var" + tag, channels, scale=0.0, shift=1.0),
        ]
        return add("BatchNormalization", [x] + stats, "bn" + tag, epsilon=1e-3)

    def conv(x, tag, c_in, c_out):
        inputs = [x, weight("cw" + tag, c_out, c_in, 3, 3), weight("cb" + tag, c_out)]
        return add("Conv", inputs, "conv" + tag, strides=[2, 2], pads=[0, 0, 1, 1])

    def dense(x, tag, n_in, n_out):
        inputs = [x, weight("dw" + tag, n_out, n_in), weight("db" + tag, n_out)]
        return add("Gemm", inputs, "dense" + tag, transB=1)

    x = relu_norm(conv("x", "1", 1, 32), "1", 32)
    x = relu_norm(conv(x, "2", 32, 64), "2", 64)
    x = relu_norm(dense(add("Flatten", [x], "flat"), "3", 3136, 128), "3", 128)
    dense(x, "4", 128, 10)
    graph = helper.make_graph(
        nodes,
        "simple_cnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("dense4", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    checker.check_model(model)
    return model.SerializeToString()


def exported_onnx(name):
    """A network of torch_network as a serialised ONNX model."""
    import io
    import warnings

    import torch

    net, shape, _ = torch_network(name)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, torch.rand(2, *shape), out, input_names=["x"], dynamic_axes={"x": {0: "n"}},
                          opset_version=17, dynamo=False)
    return out.getvalue()


def onnxruntime_cases(cases, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for name, batch in cases:
        model = simple_cnn_onnx() if name == "simplecnn" else exported_onnx(name)
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape[1:]
        x = np.random.default_rng(batch).random((batch, *shape), dtype=np.float32)
        tell = {"peer": "onnxruntime", "version": ort.__version__, "network": name, "workload": "inference"}
        yield dict(tell, batch=batch, layout="nchw"), lambda x=x, session=session: session.run(None, {"x": x})


def rate(step, batch, seconds):
    """Images per second over about `seconds`: the median of single steps."""
    times, end = [], time.perf_counter() + seconds
    for _ in range(2):
        step()  # refill caches and wake the thread pool after another case's turn
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return batch / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("case", nargs="*", default=USUAL, metavar="NETWORK:BATCH")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="for a case in a round")
    parser.add_argument("--only", nargs="+", default=[], help="words that a case's JSON must contain")
    parser.add_argument("--between", help="a shell command to run after each round")
    args = parser.parse_args()

    asked = [(name, int(batch)) for name, batch in (word.split(":") for word in args.case)]
    cases = []
    for peer in (torch_cases, onnxruntime_cases):
        try:
            cases += peer(asked, args.threads)
        except ImportError as error:
            print(f"peers.py: {peer.__name__} skipped: {error}", file=sys.stderr)
    cases = [c for c in cases if all(word in json.dumps(c[0]) for word in args.only)]

    rates = [[] for _ in cases]
    for _ in range(args.rounds):
        for (tell, step), seen in zip(cases, rates):
            seen.append(rate(step, tell["batch"], args.seconds))
        if args.between:
            sys.stdout.flush()
            subprocess.run(args.between, shell=True, check=True)
    for (tell, _), seen in zip(cases, rates):
        tell.update(
            bench="peers",
            threads=args.threads,
            images_per_s=round(statistics.median(seen), 1),
            best=round(max(seen), 1),
        )
        print(json.dumps(tell), flush=True)


if __name__ == "__main__":
    main()
