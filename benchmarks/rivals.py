"""The same network as other software runs it: float32, quantised by onnxruntime and by torch.ao."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Pixels = NDArray[np.uint8]
Run = Callable[[Pixels], object]
"""uint8[B, 3, H, W] -> logits."""


def normalised(pixels: Pixels) -> NDArray[np.float32]:
    """What the float network reads; the same for all rivals, and cheap beside them."""
    return (pixels.astype(np.float32) / 255 - 0.5) / 0.25


def fp32(module: nn.Module) -> Run:
    """Torch's own float32."""

    def run(pixels: Pixels) -> object:
        with torch.inference_mode():
            return module(torch.from_numpy(normalised(pixels)))

    return run


def torch_ao(module: nn.Module) -> Run:
    """torch.ao's dynamic int8: linear layers, scales of activations at run time."""
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fp32(quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8))


def onnxruntime(module: nn.Module, pixels: Pixels) -> Run:
    """onnxruntime's static quantization of the exported network, calibrated on `pixels`."""
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images: Iterator[Any] = iter(normalised(pixels))

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {"pixels": image[np.newaxis]}

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, ready, small = (str(Path(folder) / f"{name}.onnx") for name in "abc")
        example = torch.from_numpy(normalised(pixels[:1]))
        batch = {"pixels": {0: torch.export.Dim("batch", min=1, max=64)}}
        torch.onnx.export(
            module,
            (example,),
            plain,
            input_names=["pixels"],
            dynamo=True,
            dynamic_shapes=(batch["pixels"],),
            external_data=False,
            verbose=False,
        )
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            Reader(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        session = ort.InferenceSession(small, options, providers=["CPUExecutionProvider"])

    def run(images: Pixels) -> object:
        return session.run(None, {"pixels": normalised(images)})

    return run
