#!/usr/bin/env python3
"""Speeds of PyTorch and ONNX Runtime on SimpleCNN, the tutorial's network.

    peers.py [--threads 2] [--batch 64 256] [--rounds 7] [--seconds 0.3]
             [--only WORD ...] [--between COMMAND]

Workloads: `train` (forward, cross-entropy, backward, Adam), `inference`, and
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


def torch_cases(batches, threads):
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    tell = {"peer": "pytorch", "version": torch.__version__}

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

    def make(workload, batch, layout):
        fmt = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        net = SimpleCNN().to(memory_format=fmt)
        x = torch.rand(batch, 1, 28, 28).to(memory_format=fmt)
        y = torch.randint(10, (batch,))
        if workload == "train":
            net.train()
            adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

            def step():
                adam.zero_grad(set_to_none=True)
                F.cross_entropy(net(x), y).backward()
                adam.step()

        elif workload == "inference":
            net.eval()

            def step():
                with torch.inference_mode():
                    net(x)

        else:
            net.eval().requires_grad_(False)
            x.requires_grad_(True)

            def step():
                torch.autograd.grad(F.cross_entropy(net(x), y, reduction="sum"), x)

        return dict(tell, workload=workload, batch=batch, layout=layout), step

    for batch in batches:
        for workload in ("train", "input-gradient", "inference"):
            for layout in ("nchw", "nhwc"):
                yield make(workload, batch, layout)


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


def onnxruntime_cases(batches, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(simple_cnn_onnx(), options, providers=["CPUExecutionProvider"])
    for batch in batches:
        x = np.random.default_rng(batch).random((batch, 1, 28, 28), dtype=np.float32)
        tell = {"peer": "onnxruntime", "version": ort.__version__, "workload": "inference"}
        yield dict(tell, batch=batch, layout="nchw"), lambda x=x: session.run(None, {"x": x})


def rate(step, batch, seconds):
    """Images per second over about `seconds`: the median of single steps."""
    times, end = [], time.perf_counter() + seconds
    for _ in range(3):
        step()  # refill caches and wake the thread pool after another case's turn
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return batch / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="for a case in a round")
    parser.add_argument("--only", nargs="+", default=[], help="words that a case's JSON must contain")
    parser.add_argument("--between", help="a shell command to run after each round")
    args = parser.parse_args()

    cases = []
    for peer in (torch_cases, onnxruntime_cases):
        try:
            cases += peer(args.batch, args.threads)
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
            images_per_s=round(statistics.median(seen)),
            best=round(max(seen)),
        )
        print(json.dumps(tell), flush=True)


if __name__ == "__main__":
    main()
