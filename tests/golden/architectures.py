#!/usr/bin/env python3
"""Golden vectors of the built architectures: torchvision's logits and input gradients.

    architectures.py > architectures.txt          (PyTorch 2.15, torchvision 0.29)

No weights are kept: both sides compute them. Element i of the tensor called
NAME is u = mix(fnv1a(NAME) + i * 0x9E3779B9) / 2^32 to 24 bits, where mix is
MurmurHash3's finaliser; kernels are (2u - 1) sqrt(6 / fan in), batch norm's
scales 0.5 + 0.5 u, its variances 0.5 + u, every other vector 0.2 u - 0.1.
Images are u of the name "image". Labels are the image's number modulo the
number of classes; the loss is cross-entropy.

A case is a line `case ARCH C H W CLASSES IMAGES STEP`, then for each image its
logits, the Euclidean norm of its gradient, and every STEP-th element of it.
"""
import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

CASES = [("resnet18", 3, 40, 48, 7), ("resnet34", 3, 32, 32, 5), ("resnet50", 3, 64, 48, 9), ("resnet20", 3, 32, 32, 10),
         ("inception_v3", 3, 83, 75, 6)]
IMAGES, SAMPLES = 2, 96


def unit(name, count):
    h = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            h = np.uint32((int(h) ^ byte) * 16777619 & 0xFFFFFFFF)
        v = h + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
        v ^= v >> np.uint32(16)
        v *= np.uint32(0x85EBCA6B)
        v ^= v >> np.uint32(13)
        v *= np.uint32(0xC2B2AE35)
        v ^= v >> np.uint32(16)
    return (v >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def tensor(name, shape):
    u = unit(name, int(np.prod(shape)))
    if len(shape) > 1:
        v = (2 * u - 1) * np.float32(np.sqrt(6.0 / np.prod(shape[1:])))
    elif name.endswith("running_var"):
        v = np.float32(0.5) + u
    elif name.endswith("weight"):
        v = np.float32(0.5) + np.float32(0.5) * u
    else:
        v = np.float32(0.2) * u - np.float32(0.1)
    return torch.from_numpy(v.reshape(shape).copy())


class ResNet20(torchvision.models.ResNet):
    """He et al., section 4.2, with convolutions in the shortcuts."""

    def __init__(self, num_classes):
        super().__init__(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes)
        self.inplanes = 16
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        block = torchvision.models.resnet.BasicBlock
        self.layer1 = self._make_layer(block, 16, 3)
        self.layer2 = self._make_layer(block, 32, 3, 2)
        self.layer3 = self._make_layer(block, 64, 3, 2)
        self.maxpool, self.layer4, self.fc = nn.Identity(), nn.Identity(), nn.Linear(64, num_classes)


def network(arch, classes):
    if arch == "resnet20":
        net = ResNet20(classes)
    else:
        words = {"aux_logits": False, "init_weights": False} if arch == "inception_v3" else {}
        net = getattr(torchvision.models, arch)(num_classes=classes, **words)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.dtype == torch.float32:
                value.copy_(tensor(name, tuple(value.shape)))
    return net.eval()


def main():
    torch.manual_seed(0)
    for arch, c, h, w, classes in CASES:
        x = torch.from_numpy(unit("image", IMAGES * c * h * w).reshape(IMAGES, c, h, w).copy()).requires_grad_(True)
        logits = network(arch, classes)(x)
        labels = torch.arange(IMAGES) % classes
        (grad,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), x)
        step = c * h * w // SAMPLES
        print("case", arch, c, h, w, classes, IMAGES, step)
        for n in range(IMAGES):
            flat = grad[n].flatten()
            print(*(f"{v:.9g}" for v in logits[n].tolist()))
            print(f"{flat.double().norm().item():.9g}")
            print(*(f"{v:.6g}" for v in flat[::step].tolist()))


if __name__ == "__main__":
    main()
