"""What users write in a forward: each overload, with each of its arguments, is equal or refused.

A case is a function of the batch of images. It is either equal to its graph, or refused with a
reason that is stated here. An overload in the importer's table, or an argument of one, that no
case uses fails `test_every_argument_of_every_overload_has_a_case`.
"""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hwq.errors import ImportGraphError
from hwq.graph.aten.rules import PLACEMENT, arguments
from hwq.graph.import_torch import RULES, overload, trace
from hwq.runtime.float_executor import TorchExecutor
from hwq.runtime.import_check import check_import

aten = torch.ops.aten
generator = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(shape, generator=generator)


W, B, ROWS, FOUR = draw(5, 6), draw(5), draw(4, 6), draw(4)
KERNEL, FILTERS, GROUPED = draw(5, 4, 2, 3), draw(5), draw(4, 2, 2, 2)
VECTOR, MATRIX, MATRICES, QUERY = draw(6), draw(6, 3), draw(2, 6, 3), draw(1, 2, 3, 6)
IMAGE = (4, 6, 6)
HEADS = (2, 4, 6)


@dataclass(frozen=True)
class Case:
    """A forward, the shape of its images, and why it is refused (None where it is equal)."""

    forward: object
    shape: tuple[int, ...] = (4, 6)
    refused: str | None = None


def refused(reason, forward, shape=(4, 6)):
    return Case(forward, shape, reason)


def in_image(forward):
    return Case(forward, IMAGE)


def attention(**options):
    return lambda x: F.scaled_dot_product_attention(x, x, x, **options)


def written(x, write):
    """A copy of x, after something was written into it."""
    x = x * 1.0
    write(x)
    return x


NO_RULE = "it has no counterpart in the graph"
NO_PART = r"its argument {} has no counterpart in the graph"
PRODUCTS = {
    "linear": Case(lambda x: F.linear(x, W)),
    "linear, bias": Case(lambda x: F.linear(x, W, B)),
    "linear, weight from the image": Case(lambda x: F.linear(x, x.reshape(4, 6))),
    "linear, bias from the image": Case(lambda x: F.linear(x, W, x.reshape(24)[:5])),
    "linear, both from the image": Case(lambda x: F.linear(x, x.reshape(4, 6), x.reshape(24)[:4])),
    "matmul of the image": Case(lambda x: x @ x.transpose(1, 2)),
    "matmul with a constant on the right": Case(lambda x: x @ W.T),
    "matmul with a constant on the left": Case(lambda x: FOUR.reshape(1, 4) @ x),
    "matmul with a constant per head": Case(lambda x: x @ MATRICES, HEADS),
    "matmul with fewer axes": Case(lambda x: x @ MATRIX, HEADS),
    "matmul with a vector": refused(
        "an operand is a vector; only matrices are", lambda x: x @ VECTOR
    ),
    "mm": Case(lambda x: torch.mm(x.reshape(4, 6), W.T)),
    "bmm": Case(lambda x: torch.bmm(x, x.transpose(1, 2))),
    "addmm": Case(lambda x: torch.addmm(B, x.reshape(4, 6), W.T)),
    "addmm, beta": refused(
        NO_PART.format("beta=2"), lambda x: torch.addmm(B, x.reshape(4, 6), W.T, beta=2)
    ),
    "addmm, alpha": refused(
        NO_PART.format("alpha=3"), lambda x: torch.addmm(B, x.reshape(4, 6), W.T, alpha=3)
    ),
    "einsum of the image": Case(lambda x: torch.einsum("bij,bkj->bik", x, x)),
    "einsum with a constant": Case(lambda x: torch.einsum("bij,kj->bik", x, W)),
    "conv2d": in_image(lambda x: F.conv2d(x, KERNEL)),
    "conv2d, bias": in_image(lambda x: F.conv2d(x, KERNEL, FILTERS)),
    "conv2d, stride": in_image(lambda x: F.conv2d(x, KERNEL, FILTERS, stride=(2, 3))),
    "conv2d, one stride for both": in_image(lambda x: aten.conv2d.default(x, KERNEL, None, [2])),
    "conv2d, padding": in_image(lambda x: F.conv2d(x, KERNEL, padding=(1, 2))),
    "conv2d, dilation": refused(
        NO_PART.format(r"dilation=\[2, 2\]"), lambda x: F.conv2d(x, KERNEL, dilation=2), IMAGE
    ),
    "conv2d, groups": refused(
        NO_PART.format("groups=2"), lambda x: F.conv2d(x, GROUPED, groups=2), IMAGE
    ),
    "conv2d, weight from the image": refused(
        "its weights depend on the image",
        lambda x: F.conv2d(x, x.reshape(4, 4, 3, 3)[:, :, :2]),
        (4, 6, 6),
    ),
    "conv2d, padding valid": in_image(lambda x: F.conv2d(x, KERNEL, FILTERS, 1, "valid")),
    "conv2d, padding valid, stride": in_image(
        lambda x: F.conv2d(x, KERNEL, stride=(2, 3), padding="valid")
    ),
    "conv2d, padding same of one pixel": in_image(
        lambda x: F.conv2d(x, KERNEL[:, :, :1, :1], padding="same")
    ),
    "conv2d, padding same": refused(
        "it pads its input", lambda x: F.conv2d(x, KERNEL, padding="same"), IMAGE
    ),
    "conv2d, padding same, dilation": refused(
        NO_PART.format(r"dilation=\[2, 2\]"),
        lambda x: F.conv2d(x, KERNEL, padding="same", dilation=2),
        IMAGE,
    ),
    "conv2d, padding valid, groups": refused(
        NO_PART.format("groups=2"),
        lambda x: F.conv2d(x, GROUPED, padding="valid", groups=2),
        IMAGE,
    ),
    "layer_norm": Case(lambda x: F.layer_norm(x, (6,))),
    "layer_norm, weight": Case(lambda x: F.layer_norm(x, (6,), ROWS[0])),
    "layer_norm, bias without weight": Case(lambda x: F.layer_norm(x, (6,), None, ROWS[1])),
    "layer_norm, both": Case(lambda x: F.layer_norm(x, (6,), ROWS[0], ROWS[1])),
    "layer_norm, eps": Case(lambda x: F.layer_norm(x, (6,), eps=0.5)),
    "layer_norm, cudnn_enable": Case(
        lambda x: aten.layer_norm.default(x, [6], None, None, 0.1, False)
    ),
    "layer_norm over two axes": refused(
        "it normalises over more than the last axis", lambda x: F.layer_norm(x, (4, 6))
    ),
    "layer_norm, weight from the image": refused(
        "its weights depend on the image", lambda x: F.layer_norm(x, (6,), x.reshape(24)[:6])
    ),
    "rms_norm": Case(lambda x: F.rms_norm(x, (6,))),
    "rms_norm, weight": Case(lambda x: F.rms_norm(x, (6,), ROWS[0])),
    "rms_norm, eps": Case(lambda x: F.rms_norm(x, (6,), eps=0.5)),
    "rms_norm over two axes": refused(
        "it normalises over more than the last axis", lambda x: F.rms_norm(x, (4, 6))
    ),
    "softmax": Case(lambda x: x.softmax(-1)),
    "softmax, axis counted from the front": Case(lambda x: x.softmax(2)),
    "softmax, dtype": Case(lambda x: x.softmax(-1, dtype=torch.float32)),
    "softmax, float64": refused(
        "it computes in torch.float64", lambda x: x.softmax(-1, torch.float64)
    ),
    "softmax over another axis": refused("it is over axis 1 of 3", lambda x: x.softmax(1)),
    "_softmax": Case(lambda x: aten._softmax.default(x, -1, False)),
    "log_softmax": refused(NO_RULE, lambda x: x.log_softmax(-1)),
    "attention": Case(attention(), HEADS),
    "attention, scale": Case(attention(scale=0.7), HEADS),
    "attention, negative scale": Case(attention(scale=-0.7), HEADS),
    "attention, no scale": Case(attention(scale=0.0), HEADS),
    "attention, dropout": refused(
        "its dropout is active: dropout_p=0.5", attention(dropout_p=0.5), HEADS
    ),
    "attention, causal": refused(
        NO_PART.format("is_causal=True"), attention(is_causal=True), HEADS
    ),
    "attention, grouped queries": refused(
        NO_PART.format("enable_gqa=True"), attention(enable_gqa=True), HEADS
    ),
    "attention, mask of truth values": Case(
        attention(attn_mask=torch.ones(4, 4, dtype=torch.bool)), HEADS
    ),
    "attention, mask that leaves out keys": refused(
        "its mask leaves out some keys",
        attention(attn_mask=torch.ones(4, 4, dtype=torch.bool).tril()),
        HEADS,
    ),
    "attention, bias": Case(attention(attn_mask=draw(2, 4, 4)), HEADS),
    "attention, bias from the image": Case(
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=x @ x.mT), HEADS
    ),
    "attention, infinite bias": refused(
        "holds values that are not finite",
        attention(attn_mask=torch.full((4, 4), -torch.inf)),
        HEADS,
    ),
    "attention, mask from the image": refused(
        NO_RULE,
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=x @ x.mT > 0),
        HEADS,
    ),
    "attention of a constant query": Case(
        lambda x: F.scaled_dot_product_attention(QUERY, x, x), HEADS
    ),
    "attention of fewer queries than keys": Case(
        lambda x: F.scaled_dot_product_attention(x[:, :, :2], x, x), HEADS
    ),
}
ELEMENTWISE = {
    "add": Case(lambda x: x + x),
    "add of a constant": Case(lambda x: x + ROWS),
    "add of a smaller constant": Case(lambda x: x + ROWS[0]),
    "add of a number": Case(lambda x: 2 + x),
    "add of whole numbers": Case(lambda x: x + torch.arange(6)),
    "add, alpha": Case(lambda x: torch.add(x, x, alpha=3)),
    "add, alpha of a constant": Case(lambda x: torch.add(x, ROWS, alpha=-2.5)),
    "add.Scalar": Case(lambda x: aten.add.Scalar(x, 2.5)),
    "add.Scalar, alpha": Case(lambda x: aten.add.Scalar(x, 2.5, 3)),
    "sub": Case(lambda x: x - x.mean(1, keepdim=True)),
    "sub, alpha": Case(lambda x: torch.sub(x, ROWS, alpha=2)),
    "sub from a constant": Case(lambda x: ROWS - x),
    "sub.Scalar": Case(lambda x: aten.sub.Scalar(x, 2.5)),
    "sub.Scalar, alpha": Case(lambda x: aten.sub.Scalar(x, 2.5, 2)),
    "rsub": Case(lambda x: torch.rsub(x, ROWS)),
    "rsub, alpha": Case(lambda x: torch.rsub(x, ROWS, alpha=2)),
    "rsub.Scalar": Case(lambda x: 1 - x),
    "rsub.Scalar, alpha": Case(lambda x: aten.rsub.Scalar(x, 2.5, 3)),
    "mul": Case(lambda x: x * x),
    "mul with a constant": Case(lambda x: ROWS * x),
    "mul with a number": Case(lambda x: x * -1.5),
    "mul.Scalar": Case(lambda x: aten.mul.Scalar(x, 2.5)),
    "mul of two halves": Case(lambda x: x[..., :3] * x[..., 3:]),
    "div by a number": Case(lambda x: x / 4),
    "div by a constant": Case(lambda x: x / (ROWS.abs() + 1)),
    "div by the image": refused(
        "it divides by a tensor that depends on the image", lambda x: x / x
    ),
    "div of a number": refused(NO_RULE, lambda x: 2 / x),
    "div by zero": refused("holds values that are not finite", lambda x: x / 0),
    "div.Scalar": Case(lambda x: aten.div.Scalar(x, 2.5)),
    "div, rounding_mode": refused(
        NO_PART.format("rounding_mode='floor'"), lambda x: torch.div(x, ROWS, rounding_mode="floor")
    ),
    "div, no rounding_mode": Case(lambda x: torch.div(x, ROWS, rounding_mode=None)),
    "div.Scalar_mode": refused(
        NO_PART.format("rounding_mode='trunc'"),
        lambda x: aten.div.Scalar_mode(x, 2, rounding_mode="trunc"),
    ),
    "div.Scalar_mode, none": Case(lambda x: aten.div.Scalar_mode(x, 2, rounding_mode=None)),
    "floor_divide": refused(NO_PART.format("rounding_mode='floor'"), lambda x: x // 2),
    "remainder": refused(NO_RULE, lambda x: x % 2),
    "neg": Case(lambda x: -x),
    "gelu": Case(F.gelu),
    "gelu, approximate": Case(lambda x: F.gelu(x, approximate="tanh")),
    "silu": Case(F.silu),
    "relu": Case(F.relu),
    "sigmoid": Case(torch.sigmoid),
    "quick gelu": Case(lambda x: x * torch.sigmoid(1.702 * x)),
    "gated": Case(lambda x: F.silu(x[..., :3]) * x[..., 3:]),
    "pow": refused(NO_RULE, lambda x: x**3),
    "sqrt": refused(NO_RULE, lambda x: x.sqrt()),
    "exp": refused(NO_RULE, torch.exp),
    "tanh": refused(NO_RULE, torch.tanh),
    "erf": refused(NO_RULE, torch.erf),
    "clamp": refused(NO_RULE, lambda x: x.clamp(min=0)),
    "abs": refused(NO_RULE, torch.abs),
    "maximum": refused(NO_RULE, lambda x: torch.maximum(x, ROWS)),
    "where": refused(NO_RULE, lambda x: torch.where(ROWS > 0, x, ROWS)),
    "comparison": refused(NO_RULE, lambda x: (x > 0).float()),
    "mean": Case(lambda x: x.mean(1)),
    "mean, keepdim": Case(lambda x: x.mean(-1, keepdim=True)),
    "mean, axis in a tuple": Case(lambda x: x.mean((2,))),
    "mean, dtype": Case(lambda x: x.mean(1, dtype=torch.float32)),
    "mean, float64": refused(
        "it computes in torch.float64", lambda x: x.mean(1, dtype=torch.float64)
    ),
    "sum": Case(lambda x: x.sum(1)),
    "sum, keepdim": Case(lambda x: x.sum(-1, keepdim=True)),
    "sum of a stack": Case(lambda x: torch.stack([x, x * x]).sum(dim=0)),
    "sum, dtype": Case(lambda x: x.sum(1, dtype=torch.float32)),
    "sum in double precision": refused(
        "it computes in torch.float64", lambda x: x.sum(1, dtype=torch.float64)
    ),
    "sum over two axes": refused(r"it is over axes \[1, 2\] of 3", lambda x: x.sum((1, 2))),
    "sum over everything": refused(r"it is over axes \[0, 1, 2\] of 3", lambda x: x.sum()),
    "sum over everything, dtype": refused(
        "it computes in torch.float64", lambda x: x.sum(dtype=torch.float64)
    ),
    "mean over two axes": refused(r"it is over axes \[1, 2\] of 3", lambda x: x.mean((1, 2))),
    "mean over everything": refused(r"it is over axes \[0, 1, 2\] of 3", lambda x: x.mean()),
    "mean over the batch": refused(
        "for one image of a batch", lambda x: x + x.mean(0, keepdim=True)
    ),
    "amax": refused(NO_RULE, lambda x: x.amax(1)),
    "cumsum": refused(NO_RULE, lambda x: x.cumsum(1)),
    "dropout that is off": Case(lambda x: F.dropout(x, 0.5, training=False)),
    "dropout of nothing": Case(lambda x: F.dropout(x, 0.0, training=True)),
    "dropout that is on": refused(
        "it is active: p=0.5, train=True", lambda x: F.dropout(x, 0.5, True)
    ),
    "group_norm": refused(NO_RULE, lambda x: F.group_norm(x, 2)),
    "batch_norm": refused(NO_RULE, lambda x: F.batch_norm(x, FOUR * 0, FOUR * 0 + 1)),
    "max_pool2d": refused(NO_RULE, lambda x: F.max_pool2d(x, 2), IMAGE),
    "avg_pool2d": refused(NO_RULE, lambda x: F.avg_pool2d(x, 2), IMAGE),
    "interpolate": refused(NO_RULE, lambda x: F.interpolate(x, scale_factor=2), IMAGE),
    "pad": refused(NO_RULE, lambda x: F.pad(x, (1, 1))),
}
NOTHING = {
    "alias": Case(lambda x: aten.alias.default(x) + 1),
    "clone": Case(lambda x: x.clone() + 1),
    "clone, memory_format": in_image(lambda x: x.clone(memory_format=torch.channels_last) + 1),
    "contiguous": Case(lambda x: x.transpose(1, 2).contiguous() + 1),
    "contiguous, memory_format": in_image(
        lambda x: x.contiguous(memory_format=torch.channels_last) + 1
    ),
    "detach": Case(lambda x: x.detach() + 1),
    "lift_fresh_copy": Case(lambda x: aten.lift_fresh_copy.default(x) + 1),
    "to float32": Case(lambda x: x.to(torch.float32) + 1),
    "to float64": refused("it computes in torch.float64", lambda x: x.to(torch.float64)),
    "to half": refused("it computes in torch.float16", lambda x: x.half().float()),
    "to whole numbers": refused("it computes in torch.int64", lambda x: x.long().float()),
    "to device": Case(lambda x: x.to("cpu", torch.float32) + 1),
    "to dtype_layout": Case(lambda x: aten.to.dtype_layout(x, dtype=torch.float32) + 1),
    "_to_copy": Case(lambda x: aten._to_copy.default(x, dtype=torch.float32) + 1),
    "type_as": Case(lambda x: x.type_as(ROWS) + 1),
    "type_as of a constant": Case(lambda x: ROWS.type_as(x) + x),
    "float": Case(lambda x: x.float() + 1),
}
MOVEMENT = {
    "view": Case(lambda x: x.view(1, 2, 12)),
    "view, size inferred": Case(lambda x: x.view(-1, 3, 8)),
    "_unsafe_view": Case(lambda x: aten._unsafe_view.default(x, [1, 12, 2])),
    "reshape": Case(lambda x: x.reshape(1, 12, -1)),
    "reshape of what was turned": Case(lambda x: x.transpose(1, 2).reshape(1, 3, 8)),
    "flatten": Case(lambda x: x.flatten(1)),
    "flatten, end_dim": Case(lambda x: x.flatten(1, 2), HEADS),
    "flatten of all": Case(lambda x: x.flatten()),
    "unflatten": Case(lambda x: x.unflatten(2, (2, 3))),
    "unflatten, axis counted from the back": Case(lambda x: x.unflatten(-2, (2, -1))),
    "squeeze": Case(lambda x: x.unsqueeze(1).squeeze(1)),
    "squeeze of all": Case(lambda x: x[:, :1].squeeze()),
    "squeeze of several": Case(lambda x: x.reshape(1, 1, 4, 1, 6).squeeze((1, 3))),
    "squeeze of an axis that is longer": Case(lambda x: x.squeeze(1) + 1),
    "unsqueeze": Case(lambda x: x.unsqueeze(-1)),
    "expand": Case(lambda x: x[:, :1].expand(-1, 3, -1)),
    "expand to more axes": Case(lambda x: x.expand(2, 1, 4, 6)),
    "expand, implicit": Case(lambda x: aten.expand.default(x[:, :1], [1, 3, 6], implicit=True)),
    "expand_as": Case(lambda x: x[:, :1].expand_as(x)),
    "expand of a constant": Case(lambda x: ROWS[:1].expand_as(x) + x),
    "repeat of axes of length 1": Case(lambda x: x[:, :1].repeat(1, 3, 1)),
    "repeat to more axes": Case(lambda x: x.repeat(2, 1, 1, 1)),
    "repeat of a longer axis": refused(
        r"it repeats \[1, 4, 6\] by \[1, 2, 1\]", lambda x: x.repeat(1, 2, 1)
    ),
    "repeat_interleave": Case(lambda x: x.repeat_interleave(2, 1)),
    "permute": Case(lambda x: x.permute(0, 2, 1)),
    "permute, axes counted from the back": Case(lambda x: x.permute(0, -1, -3, -2), HEADS),
    "transpose": Case(lambda x: x.transpose(1, 2)),
    "transpose, axes counted from the back": Case(lambda x: x.transpose(-1, -2)),
    "swapaxes": Case(lambda x: aten.swapaxes.default(x, 1, -1)),
    "t": Case(lambda x: x.reshape(4, 6).t()),
    "mT": Case(lambda x: x.mT),
    "movedim": Case(lambda x: torch.movedim(x, 1, 3), HEADS),
    "movedim of several": Case(lambda x: torch.movedim(x, (3, 1), (1, -1)), HEADS),
    "select": Case(lambda x: x.select(1, 2)),
    "select, counted from the back": Case(lambda x: x[..., -2]),
    "unbind": Case(lambda x: x.unbind(1)[2]),
    "unbind along the first axis": Case(lambda x: x.reshape(4, 6).unbind()[3]),
    "slice": Case(lambda x: x[:, 1:3]),
    "slice, open": Case(lambda x: x[..., 2:]),
    "slice, counted from the back": Case(lambda x: x[:, -3:-1]),
    "slice beyond the end": Case(lambda x: x[:, 1:100]),
    "slice, defaults": Case(lambda x: aten.slice.Tensor(x.reshape(4, 6)) + 1),
    "slice, step": Case(lambda x: x[:, ::2]),
    "slice, step from an odd place": Case(lambda x: x[..., 1::2]),
    "slice, step within": Case(lambda x: x[..., 1:5:3]),
    "slice, step of an odd number": refused(
        "its step is 2: 3 groups of as many are more than 5", lambda x: x[..., :5][..., ::2]
    ),
    "rotary positions": Case(
        lambda x: x * 0.5 + torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape) * 0.25
    ),
    "slice of nothing": Case(lambda x: torch.cat([x[:, 3:2], x * 2], 1)),
    "narrow": Case(lambda x: x.narrow(1, 1, 2)),
    "narrow, counted from the back": Case(lambda x: x.narrow(-1, -3, 2)),
    "split": Case(lambda x: torch.cat(x.split(4, -1)[::-1], -1)),
    "split along the first axis": Case(lambda x: x.reshape(4, 6).split(3)[1]),
    "split by sizes": Case(lambda x: x.split([1, 2, 3], 2)[1]),
    "split.sizes": Case(lambda x: aten.split.sizes(x, [1, 3], 1)[1]),
    "chunk": Case(lambda x: x.chunk(4, -1)[2]),
    "chunk along the first axis": Case(lambda x: x.reshape(4, 6).chunk(2)[1]),
    "chunk of an odd length": Case(lambda x: x.chunk(3, 1)[1]),
    "tensor_split": Case(lambda x: x.tensor_split(3, 1)[0]),
    "cat": Case(lambda x: torch.cat([x, x + 1], 1)),
    "cat, axis counted from the back": Case(lambda x: torch.cat([x, x[:, :, :1]], dim=-1)),
    "cat of a constant": Case(lambda x: torch.cat([ROWS[None, :1], x], 1)),
    "cat with an empty tensor": Case(lambda x: torch.cat([torch.zeros(0), x], 1)),
    "cat along the batch": refused("for one image of a batch", lambda x: torch.cat([x, x])[:1]),
    "stack": Case(lambda x: torch.stack([x, x * 2], 1)),
    "stack, axis counted from the back": Case(lambda x: torch.stack([x, x], -1)),
    "roll": refused(NO_RULE, lambda x: x.roll(1, 1)),
    "flip": refused(NO_RULE, lambda x: x.flip(1)),
    "gather": refused(NO_RULE, lambda x: x.gather(1, torch.zeros(1, 1, 6, dtype=torch.long))),
    "index by a constant": refused(NO_RULE, lambda x: x[:, torch.tensor([2, 0])]),
    "sort": refused(NO_RULE, lambda x: x.sort(-1)[0]),
    "topk": refused(NO_RULE, lambda x: x.topk(2)[0]),
}
IN_PLACE = {
    "add_": Case(lambda x: (x * 2).add_(ROWS)),
    "add_, alpha": Case(lambda x: (x * 2).add_(ROWS, alpha=2)),
    "sub_": Case(lambda x: (x * 2).sub_(1)),
    "mul_": Case(lambda x: (x * 2).mul_(x)),
    "div_": Case(lambda x: (x * 2).div_(3)),
    "neg_": Case(lambda x: (x * 2).neg_()),
    "unsqueeze_": Case(lambda x: (x * 2).unsqueeze_(1)),
    "squeeze_": Case(lambda x: (x * 2).unsqueeze(1).squeeze_(1)),
    "transpose_": Case(lambda x: (x * 2).transpose_(1, 2)),
    "read before and after": Case(lambda x: written(x, lambda y: y.add_(1)) + x),
    "augmented": Case(lambda x: written(x, lambda y: y.__iadd__(x))),
    "all of it": refused(NO_RULE, lambda x: written(x, lambda y: y[:].mul_(2))),
    "a part of it": refused(NO_RULE, lambda x: written(x, lambda y: y[:, 0].mul_(2))),
    "copied into a part of it": refused(
        NO_RULE, lambda x: written(x, lambda y: y[:, 0].copy_(B[0]))
    ),
    "into a constant": refused(NO_RULE, lambda x: written(ROWS, lambda y: y[0].copy_(x[0, 0])) + x),
    "clamp_": refused(NO_RULE, lambda x: (x * 2).clamp_(0)),
}
POSITIONS = draw(1, 3, 2, 2)
CONSTANTS = {
    "position ids": Case(lambda x: x + F.embedding(torch.arange(4), ROWS)),
    "an index": Case(lambda x: x + ROWS[torch.tensor([[3, 2], [1, 0]])].reshape(4, 6)),
    "a grid": Case(lambda x: x + torch.stack(torch.meshgrid(FOUR, ROWS[0], indexing="ij")).sum(0)),
    "an interpolated table": Case(
        lambda x: x + F.interpolate(POSITIONS, size=(4, 6), mode="bicubic").mean(1)
    ),
    "a table written in place": Case(lambda x: x + written(ROWS, lambda y: y[1:].copy_(ROWS[:3]))),
    "a table filled in place": Case(lambda x: x + written(ROWS, lambda y: y[0].fill_(2.0))),
    "a table read before and after it is written": Case(
        lambda x: x + ROWS.abs() + written(ROWS, lambda y: y.add_(1))
    ),
    "a mask that leaves nothing out": Case(
        lambda x: x + torch.where(torch.arange(6) < 3, 1.0, -1.0)
    ),
    "a norm of weights": Case(lambda x: F.linear(x, W / W.norm(dim=1, keepdim=True))),
    "random numbers of a generator": refused(
        "which is no tensor",
        lambda x: x + torch.randn(6, generator=generator),
    ),
    "dropout of a constant, off": Case(lambda x: x + F.dropout(ROWS, 0.5, training=False)),
    "dropout of a constant, on": refused("it is active", lambda x: x + F.dropout(ROWS, 0.5, True)),
    "random numbers": refused(NO_RULE, lambda x: x + torch.rand(4, 6)),
    "a transposed weight": Case(lambda x: F.linear(x, W.T.contiguous().T)),
    "half weights, cast": Case(lambda x: F.linear(x, W.half().float())),
}
REGIONS = {
    "no_grad": Case(lambda x: region(torch.no_grad(), x)),
    "autocast that is off": Case(lambda x: region(torch.autocast("cpu", enabled=False), x)),
    "autocast that is on": refused(
        "it computes in torch.bfloat16",
        lambda x: region(torch.autocast("cpu", dtype=torch.bfloat16), x),
    ),
}
RESULTS = {
    "several": Case(lambda x: (x + 1, x * 2)),
    "a dictionary": Case(lambda x: {"logits": x + 1, "none": None}),
    "the image itself": Case(lambda x: (x, x + 1)),
    "the same twice": Case(lambda x: [x + 1] * 2),
    "none": refused("returns no tensor", lambda x: None),
    "a number": refused("returns no tensor", lambda x: 1),
    "a constant": refused("does not depend on the image", lambda x: ROWS * 2),
    "whole numbers": refused(
        "it computes in torch.int64|has no counterpart", lambda x: x.argmax(-1)
    ),
    "a choice by the image": refused(
        "torch cannot export model", lambda x: x if x.sum() > 0 else x + 1
    ),
}


def region(context, x):
    with context:
        x = x @ x.transpose(1, 2)
    return x + 1


GROUPS = {
    "products": PRODUCTS,
    "elementwise": ELEMENTWISE,
    "nothing": NOTHING,
    "movement": MOVEMENT,
    "in place": IN_PLACE,
    "constants": CONSTANTS,
    "regions": REGIONS,
    "results": RESULTS,
}
CASES = {
    f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()
}


class Forward(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def checked(case):
    """The graph of a case, compared with its module as every import is."""
    module = Forward(case.forward)
    images = torch.randn((2, *case.shape), generator=torch.Generator().manual_seed(1))
    imported = trace(module, (1, *case.shape), "case")
    check_import(module, imported, imported.graph, images, images)
    return module, imported.graph


def leaves(result):
    return [x for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor)]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refused is None])
def test_is_equal(name):
    module, graph = checked(CASES[name])
    # another image than those of the check
    image = torch.randn((1, *CASES[name].shape), generator=torch.Generator().manual_seed(7))
    values = TorchExecutor(graph).run({"image": image}, graph.outputs)
    for output, wanted in zip(graph.outputs, leaves(module(image)), strict=True):
        torch.testing.assert_close(values[output], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refused is not None])
def test_is_refused_by_name(name):
    with pytest.raises(ImportGraphError, match=CASES[name].refused) as caught:
        checked(CASES[name])
    message = str(caught.value)
    assert "'case'" in message and "\n" not in message and "\x1b" not in message


def test_every_argument_of_every_overload_has_a_case():
    used = set()
    for case in CASES.values():
        try:
            program = torch.export.export(
                Forward(case.forward), (torch.zeros(1, *case.shape),), strict=False
            )
        except Exception:  # what cannot be exported uses nothing
            continue
        for call in program.graph.nodes:
            if call.op == "call_function" and overload(call) in RULES:
                given = [*list(arguments(call))[: len(call.args)], *call.kwargs]
                used |= {(overload(call), argument) for argument in given}
    for name in RULES:
        operator, kind = name.split(".")
        declared = getattr(getattr(aten, operator), kind)._schema.arguments
        wanted = {a.name for a in declared} - PLACEMENT
        missing = sorted(argument for argument in wanted if (name, argument) not in used)
        assert not missing, f"{name}: no case passes {', '.join(missing)}"


def test_there_are_cases_enough():
    assert len(CASES) >= 150
