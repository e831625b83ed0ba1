#!/usr/bin/env python3
"""Makes fgsm.json, pgd.json and minimal_eps.json: what an independent implementation of the papers' formulas, in PyTorch and double
precision, makes of a few MNIST test images on a third-party network.

Usage: make.py DATA        (DATA as in $PARRY_DATA; needs numpy, onnx and torch)
"""
import gzip
import json
import os
import sys

import numpy
import onnx
import torch
import torch.nn.functional as F

MODEL = "models/mnist/mnist_cnn_small_lirpa.onnx"
IMAGES = [0, 8, 18]
RADII = 20000  # of the search for the smallest eps
PIXELS = 24  # per image, those with the largest gradient: elsewhere rounding may decide a sign


def read_images(data):
    with gzip.open(os.path.join(data, "mnist/t10k-images-idx3-ubyte.gz")) as f:
        pixels = numpy.frombuffer(f.read(), numpy.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(os.path.join(data, "mnist/t10k-labels-idx1-ubyte.gz")) as f:
        labels = numpy.frombuffer(f.read(), numpy.uint8, offset=8)
    x = (pixels[IMAGES].astype(numpy.float32) / numpy.float32(255)).astype(numpy.float64)
    return torch.tensor(x), torch.tensor(labels[IMAGES].astype(numpy.int64))


def read_network(data):
    graph = onnx.load(os.path.join(data, MODEL)).graph
    w = {i.name: torch.tensor(onnx.numpy_helper.to_array(i).astype(numpy.float64)) for i in graph.initializer}

    def network(x):
        x = F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"], stride=2, padding=1))
        x = F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], stride=2, padding=1))
        x = F.relu(F.linear(x.flatten(1), w["fc1.weight"], w["fc1.bias"]))
        return F.linear(x, w["fc2.weight"], w["fc2.bias"])

    return network


def losses(name, logits, labels):
    if name == "ce":
        return F.cross_entropy(logits, labels, reduction="none")
    one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return ((F.softmax(logits, 1) - one_hot) ** 2).mean(1)


def evaluate(network, case, x, labels):
    """Logits, what is climbed and its gradient, each image's own: the loss of the label, or minus that of the target."""
    x = x.clone().requires_grad_(True)
    logits = network(x)
    if case.get("target") is None:
        loss = losses(case["loss"], logits, labels)
    else:
        loss = -losses(case["loss"], logits, torch.full_like(labels, case["target"]))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    return logits.detach(), loss.detach(), gradient


def met(case, logits, labels):
    top = logits.argmax(1)
    if case.get("target") is not None:
        return top == case["target"]
    return (top != labels) & (F.softmax(logits, 1).max(1).values >= case.get("confidence", 0))


def norm2(x):
    return x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def step(case, gradient):
    return gradient.sign() if case["norm"] == "linf" else gradient / norm2(gradient)


def project(case, x, center):
    eps = case["eps"]
    if case["norm"] == "linf":
        x = torch.minimum(torch.maximum(x, center - eps), center + eps)
    else:
        d = x - center
        x = center + d * torch.clamp(eps / norm2(d).clamp(min=1e-300), max=1)
    return x.clamp(0, 1) if case["clip"] else x


def fgsm(network, case, x, labels):
    return project(case, x + case["eps"] * step(case, evaluate(network, case, x, labels)[2]), x)


def pgd(network, case, x, labels):
    at, worst, worst_loss, worst_fooled = x, x, None, None
    for i in range(case["steps"] + 1):
        logits, loss, gradient = evaluate(network, case, at, labels)
        fooled = met(case, logits, labels)
        if i == 0:
            worst_loss, worst_fooled = loss, fooled
        else:
            better = (fooled & ~worst_fooled) | ((fooled == worst_fooled) & (loss > worst_loss))
            if case["stop"]:
                better &= ~worst_fooled
            worst = torch.where(better.view(-1, 1, 1, 1), at, worst)
            worst_loss = torch.where(better, loss, worst_loss)
            worst_fooled = worst_fooled | fooled
        at = project(case, at + case["step"] * step(case, gradient), x)
    return worst


def fgsm_cases():
    for norm, eps, loss, clip in [("linf", 0.1, "ce", True), ("linf", 0.25, "mse", True), ("linf", 0.1, "ce", False),
                                  ("l2", 1.0, "ce", True), ("l2", 1.5, "mse", False)]:
        yield dict(spec="fgsm", norm=norm, eps=eps, loss=loss, clip=clip)
    yield dict(spec="fgsm", norm="linf", eps=0.15, loss="ce", clip=True, target=3)
    yield dict(spec="fgsm", norm="l2", eps=2.0, loss="mse", clip=False, target=8)


def pgd_cases():
    for norm, eps, loss, clip, steps, size, stop in [("linf", 0.15, "ce", True, 8, 0.04, False),
                                                     ("linf", 0.3, "ce", True, 20, 0.02, True),
                                                     ("l2", 1.5, "ce", True, 8, 0.4, False),
                                                     ("l2", 2.0, "mse", False, 10, 0.5, True)]:
        spec = f"pgd:steps={steps}:step={size}:random-start=false:stop-when-fooled={'true' if stop else 'false'}"
        yield dict(spec=spec, norm=norm, eps=eps, loss=loss, clip=clip, steps=steps, step=size, stop=stop)
    for norm, eps, steps, size, stop, target in [("linf", 0.3, 20, 0.03, True, 3), ("l2", 3.0, 10, 0.6, False, 8)]:
        spec = f"pgd:steps={steps}:step={size}:random-start=false:stop-when-fooled={'true' if stop else 'false'}"
        yield dict(spec=spec, norm=norm, eps=eps, loss="ce", clip=True, steps=steps, step=size, stop=stop, target=target)


def minimal_cases():
    yield dict(spec="fgsm", norm="linf", eps=0.5, loss="ce", clip=True)
    yield dict(spec="fgsm", norm="l2", eps=8.0, loss="ce", clip=False)
    yield dict(spec="fgsm", norm="linf", eps=0.5, loss="ce", clip=False, criterion="confident:0.6", confidence=0.6)
    yield dict(spec="fgsm", norm="linf", eps=0.6, loss="ce", clip=False, target=3)
    yield dict(spec="fgsm", norm="l2", eps=8.0, loss="mse", clip=False, target=8)


def minimal(network, case, x, labels):
    """The first of many radii at which a step along the one gradient meets the criterion; None where none does."""
    direction = step(case, evaluate(network, case, x, labels)[2])
    found = [0.0 if ok else None for ok in met(case, network(x), labels)]
    for k in range(1, RADII + 1):
        at = dict(case, eps=case["eps"] * k / RADII)
        adv = project(at, x + at["eps"] * direction, x)
        for i, ok in enumerate(met(case, network(adv), labels)):
            if ok and found[i] is None:
                found[i] = at["eps"]
    return found


def number(value):
    return float(f"{value:.7g}")


def describe(network, case, attack, x, labels):
    gradient = evaluate(network, case, x, labels)[2].flatten(1).abs()
    adv = attack(network, case, x, labels)
    logits = network(adv)
    images = []
    for i, index in enumerate(IMAGES):
        places = sorted(gradient[i].argsort(descending=True)[:PIXELS].tolist())
        images.append(dict(index=index, logits=[number(v) for v in logits[i]], places=places,
                           pixels=[number(v) for v in adv[i].flatten()[places]]))
    return dict(threat(case), images=images)


def threat(case):
    out = {k: case[k] for k in ("spec", "norm", "eps", "loss", "clip", "criterion") if k in case}
    return dict(out, target=str(case["target"])) if "target" in case else out


def main(data):
    x, labels = read_images(data)
    network = read_network(data)
    here = os.path.dirname(os.path.abspath(__file__))
    made_with = f"make.py, torch {torch.__version__.split('+')[0]}, double precision"
    out = dict(model=MODEL, data="mnist test", made_with=made_with, index=IMAGES, radii=RADII,
               cases=[dict(threat(case), minimal_eps=minimal(network, case, x, labels)) for case in minimal_cases()])
    with open(os.path.join(here, "minimal_eps.json"), "w") as f:
        f.write(json.dumps(out, indent=1) + "\n")
    for name, attack, cases in [("fgsm", fgsm, fgsm_cases()), ("pgd", pgd, pgd_cases())]:
        out = dict(model=MODEL, data="mnist test",
                   made_with=made_with,
                   cases=[describe(network, case, attack, x, labels) for case in cases])
        text = json.dumps(out, indent=1)
        for opening in ("logits", "places", "pixels"):  # number lists on one line
            parts = text.split(f'"{opening}": [')
            text = parts[0] + "".join(f'"{opening}": [' + " ".join(p.split("]", 1)[0].split()) + "]" + p.split("]", 1)[1]
                                      for p in parts[1:])
        with open(os.path.join(here, name + ".json"), "w") as f:
            f.write(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
