"""Scale folding: per-channel quantization of a LayerNorm's output at the price of per-tensor."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from hwq.graph.ir import Constant, Graph, Node, constant_like
from hwq.quantizers.uniform import Uniform


def foldable_layer_norms(graph: Graph) -> tuple[Node, ...]:
    """LayerNorms with parameters whose only readers are linear layers."""
    return tuple(
        node
        for node in graph.nodes
        if node.op == "layer_norm"
        and len(node.inputs) == 3
        and node.name not in graph.outputs
        and all(
            reader.op == "linear" and reader.inputs[0] == node.name
            for reader in graph.consumers(node.name)
        )
    )


def fold_scales(
    graph: Graph, per_channel: Mapping[str, Uniform]
) -> tuple[Graph, dict[str, Uniform]]:
    """Move the differences between channels' scales into LayerNorm and the next weights.

    With scale s_c and zero point z_c per channel, s their mean and z their rounded mean,
    r_c = s_c / s:

        gamma_c <- gamma_c / r_c          W[:, c] <- r_c W[:, c]
        beta_c <- (beta_c + s_c (z_c - z)) / r_c      b <- b - sum_c W[:, c] s_c (z_c - z)

    The float network is unchanged, and the per-tensor quantizer (s, z) gives on the new LayerNorm
    output the codes that (s_c, z_c) gave on the old one. RepQ-ViT, arXiv 2212.08254, section 3.2;
    unlike its released code, z is an integer, so there are 2^bits codes (trap T8).

    Parameters
    ----------
    graph : Graph
        Float graph.
    per_channel : Mapping[str, Uniform]
        By LayerNorm name; scale and zero point of shape [D].

    Returns
    -------
    Graph
        With new constants, named "<old name>.folded".
    dict[str, Uniform]
        The per-tensor quantizers, by LayerNorm name.
    """
    constants: dict[str, Constant] = dict(graph.constants)
    per_tensor: dict[str, Uniform] = {}
    changed: dict[str, Node] = {}
    for name, quantizer in per_channel.items():
        norm = graph.by_name[name]
        scale = quantizer.scale.cpu().double().numpy()
        zero_point = quantizer.zero_point.cpu().double().numpy()
        mean_scale, mean_zero = scale.mean(), np.floor(zero_point.mean() + 0.5)
        ratio, move = scale / mean_scale, scale * (zero_point - mean_zero)
        gamma, beta = (constants[parameter] for parameter in norm.inputs[1:])
        names = [f"{parameter}.folded" for parameter in norm.inputs[1:]]
        constants[names[0]] = constant_like(gamma / ratio)
        constants[names[1]] = constant_like((beta + move) / ratio)
        changed[name] = replace(norm, inputs=(norm.inputs[0], *names))
        for reader in graph.consumers(name):
            changed[reader.name] = _fold_linear(reader, constants, ratio, move)
        per_tensor[name] = replace(
            quantizer,
            scale=torch.tensor(mean_scale, dtype=torch.float32),
            zero_point=torch.tensor(int(mean_zero), dtype=torch.int32),
        )
    nodes = [changed.get(node.name, node) for node in graph.nodes]
    return graph.rebuild(nodes, constants=constants), per_tensor


def _fold_linear(
    node: Node, constants: dict[str, Constant], ratio: Constant, move: Constant
) -> Node:
    weight = constants[node.inputs[1]].astype(np.float64)
    bias = constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(len(weight))
    names = (f"{node.name}.weight.folded", f"{node.name}.bias.folded")
    constants[names[0]] = constant_like(weight * ratio)
    constants[names[1]] = constant_like(bias - weight @ move)
    return replace(node, inputs=(node.inputs[0], *names))
