"""Makes block_*.onnx: small random networks of the kinds of block that today's architectures are made of, exported by PyTorch.

Usage: python blocks.py FOLDER (needs torch, torchvision, onnx and onnxscript). Beside "test.input" and "test.output" (see make.py) the metadata holds
"test.cotangent" and "test.gradient": the derivative of <cotangent, output> by the input, computed by PyTorch, which also
computed the output. Made with torch 2.15.0.
"""

import io
import sys

import onnx
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

torch.manual_seed(1)
torch.backends.mha.set_fastpath_enabled(False)  # has no ONNX form


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (part.reshape(n, t, self.heads, c // self.heads).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        scores = (q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class SequenceFirst(nn.Module):
    """PyTorch's own attention: the batch moves behind the sequence, is joined with the heads, and comes back."""

    def __init__(self, width, heads):
        super().__init__()
        self.both = nn.MultiheadAttention(width, heads, batch_first=True)
        nn.init.normal_(self.both.in_proj_bias)
        nn.init.normal_(self.both.out_proj.bias)

    def forward(self, x):
        return self.both(x, x, x, need_weights=False)[0]


class ViT(nn.Module):
    def __init__(self, attention=Attention, width=12, heads=3, patch=4, tokens=5):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, tokens, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        for norm in self.norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        self.attention = attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x)[:, 0])


def conv(i, o, k=1, s=1, g=1):
    layers = nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o))
    nn.init.uniform_(layers[1].weight, 0.5, 1.5)
    nn.init.normal_(layers[1].bias, std=0.2)
    layers[1].running_mean.normal_(std=0.1)
    layers[1].running_var.uniform_(0.5, 1.5)
    return layers


class MobileNet(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 6, 3, 2), last())
        self.body = nn.Sequential(conv(6, 12), last(), conv(12, 12, 3, 1, 12), last(), conv(12, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.body(x)).mean((2, 3)))


class Squeeze(nn.Module):
    def __init__(self, width, gate):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(width, 3, 1), nn.Conv2d(3, width, 1), gate

    def forward(self, x):
        return x * self.gate(self.up(F.silu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 6, 3, 2), nn.SiLU())
        self.body = nn.Sequential(conv(6, 12), nn.SiLU(), conv(12, 12, 3, 1, 12), nn.SiLU(), Squeeze(12, nn.Sigmoid()), conv(12, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head(F.adaptive_avg_pool2d(x + self.body(x), 1).flatten(1))


class ConvNeXt(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 2, 2)
        self.deep = nn.Conv2d(width, width, 7, 1, 3, groups=width)
        self.norm, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.rand(width))
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y), approximate="tanh"))
        x = x + y.permute(0, 3, 1, 2)
        return self.head(self.last(x.mean((2, 3))))


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(2, 8), nn.ELU(), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1),
                                  nn.InstanceNorm2d(4, affine=True), nn.PReLU(4), nn.AvgPool2d(4))
        nn.init.uniform_(self.body[1].weight, 0.5, 1.5)
        nn.init.uniform_(self.body[4].weight, 0.5, 1.5)
        self.head = nn.Linear(4 * 16, 4)

    def forward(self, x):
        return self.head(F.softplus(self.body(x)).flatten(1))


class ResponseNorm(nn.Module):
    """AlexNet's normalisation, over images and over sequences: a mean over neighbouring channels as pooling of a volume."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.norm, self.last = nn.LocalResponseNorm(5, alpha=0.8, beta=0.75, k=1.5), nn.LocalResponseNorm(4, alpha=2.0)
        self.head = nn.Linear(8 * 16, 4)

    def forward(self, x):
        x = F.max_pool2d(self.norm(F.softplus(self.stem(x))), 2)
        return self.head(self.last(x.flatten(2)).flatten(1))


def swin(**version):
    """Shifted windows: 4 x 4 positions in windows of 2 x 2, in every other block rolled by one and masked."""
    model = torchvision.models.SwinTransformer([2, 2], 4, [2], [2], [2, 2], num_classes=4, stochastic_depth_prob=0.0, **version)
    for parameter in model.parameters():
        nn.init.normal_(parameter, parameter.mean().item() if parameter.dim() == 1 else 0, 0.4)
    return model


def write(name, model, opset, dynamo=False):
    model.eval()
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    y = model(x)
    cotangent = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, input_names=["x"], output_names=["y"], opset_version=opset, dynamo=dynamo,
                      **({"dynamic_shapes": ({0: torch.export.Dim("N")},)} if dynamo else
                         {"dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}))
    out = onnx.load_from_string(file.getvalue())
    for node in out.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del out.graph.value_info[:]
    for key, value in (("test.input", x), ("test.output", y), ("test.cotangent", cotangent), ("test.gradient", gradient)):
        entry = out.metadata_props.add()
        entry.key, entry.value = key, " ".join(f"{v:.9g}" for v in value.detach().numpy().ravel())
    onnx.save(out, f"{sys.argv[1]}/block_{name}.onnx")


for name, model, opset in (
    ("vit", ViT(), 17),
    ("vit_old", ViT(), 13),
    ("mobilenet_v2", MobileNet(nn.ReLU6), 13),
    ("mobilenet_v3", MobileNet(nn.Hardswish), 17),
    ("efficientnet", EfficientNet(), 17),
    ("convnext", ConvNeXt(), 17),
    ("norms", Norms(), 17),
    ("vit_sequence_first", ViT(SequenceFirst), 17),
):
    write(name, model, opset)

for name, version in (("swin", {}), ("swin_v2", {"block": torchvision.models.swin_transformer.SwinTransformerBlockV2})):
    torch.manual_seed(1)
    write(name, swin(**version), 18, dynamo=True)

for name, dynamo in (("response_norm", False), ("response_norm_new", True)):
    torch.manual_seed(1)
    write(name, ResponseNorm(), 18 if dynamo else 17, dynamo)
