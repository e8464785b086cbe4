"""How the time of an integer forward grows with batch, tokens, width and depth."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from timm.models.vision_transformer import VisionTransformer

from hwq.api import lower
from hwq.api.network import float_graph
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.models.catalog import Network
from hwq.models.preprocessing import Preprocessing
from hwq.runtime.integer_executor import IntegerExecutor

AXES: dict[str, list[int]] = {
    "batch": [1, 2, 4, 8, 16],
    "pixels a side": [224, 256, 288, 320, 384],
    "width": [96, 192, 384, 768],
    "depth": [3, 6, 12, 24],
}
_COLOURS = ("#1b6ca8", "#b8441f", "#3c7a3c", "#7a4fa3")


def make(axis: str, value: int) -> tuple[Callable[[], object], int]:
    """Return a forward of DeiT-Tiny with one thing changed, and how many images it takes."""
    side = value if axis == "pixels a side" else 224
    width = value if axis == "width" else 192
    depth = value if axis == "depth" else 12
    batch = value if axis == "batch" else 1
    module = VisionTransformer(
        img_size=side, embed_dim=width, depth=depth, num_heads=max(width // 64, 1)
    ).eval()
    config = Preprocessing(input_size=(3, side, side))
    graph = float_graph(Network("grown", module, config, pretrained=False))
    noise = Calibration.noise((3, side, side), 2, seed=0)
    quantized = METHODS["minmax"]().fit(graph, noise, Bits(8, 8))
    executor = IntegerExecutor(lower(quantized))
    images = [noise.pixels[n % 2] for n in range(batch)]
    return lambda: executor.run_batch(images, threads=1), batch


def growth(rounds: int) -> tuple[dict[str, Any], str]:
    """Milliseconds an image along every axis, the fitted powers, and both as an SVG."""
    figures: dict[str, Any] = {}
    for axis, values in AXES.items():
        calls = [make(axis, value) for value in values]
        times: list[list[float]] = [[] for _ in calls]
        for turn in range(rounds + 1):
            for (call, batch), seconds in zip(calls, times, strict=True):
                start = perf_counter()
                call()
                if turn:
                    seconds.append(1e3 * (perf_counter() - start) / batch)
        points = [(x, median(seconds)) for x, seconds in zip(values, times, strict=True)]
        slope = float(np.polyfit(*np.log(np.array(points)).T, 1)[0])
        figures[axis] = {"points": points, "slope": slope}
    return figures, draw(figures)


def draw(figures: dict[str, Any]) -> str:
    """Every axis from its own smallest value on, both scales logarithmic."""
    width, height, margin = 640, 420, 60
    ratios = {
        axis: [(x / row["points"][0][0], ms) for x, ms in row["points"]]
        for axis, row in figures.items()
    }
    every = [point for points in ratios.values() for point in points]
    right = max(x for x, _ in every)
    low, high = min(ms for _, ms in every) / 1.2, max(ms for _, ms in every) * 1.2

    def place(x: float, ms: float) -> tuple[float, float]:
        across = np.log(x) / np.log(right)
        up = np.log(ms / low) / np.log(high / low)
        return margin + across * (width - 2 * margin), height - margin - up * (height - 2 * margin)

    picture = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}")
    SubElement(picture, "rect", width=str(width), height=str(height), fill="#fff")
    style = {"font-family": "sans-serif", "font-size": "12"}
    for power in range(int(np.log2(right)) + 1):
        x, _ = place(2.0**power, low)
        line = {"x1": f"{x}", "x2": f"{x}", "y1": f"{margin}", "y2": f"{height - margin}"}
        SubElement(picture, "line", line, stroke="#ddd")
        label = SubElement(picture, "text", style, x=f"{x - 8}", y=f"{height - margin + 16}")
        label.text = f"x{2**power}"
    for ms in (1, 2, 5, 10, 20, 50, 100, 200):
        if low < ms < high:
            _, y = place(1, ms)
            line = {"x1": f"{margin}", "x2": f"{width - margin}", "y1": f"{y}", "y2": f"{y}"}
            SubElement(picture, "line", line, stroke="#ddd")
            SubElement(picture, "text", style, x="8", y=f"{y + 4}").text = f"{ms} ms"
    for number, (axis, points) in enumerate(ratios.items()):
        colour = _COLOURS[number]
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        SubElement(picture, "polyline", points=path, fill="none", stroke=colour)
        for point in points:
            x, y = place(*point)
            SubElement(picture, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", fill=colour)
        key = SubElement(
            picture, "text", style, x=f"{margin + 10}", y=f"{margin + 16 * number}", fill=colour
        )
        first = figures[axis]["points"][0][0]
        key.text = f"{axis} from {first}: power {figures[axis]['slope']:.2f}"
    return tostring(picture, encoding="unicode") + "\n"
