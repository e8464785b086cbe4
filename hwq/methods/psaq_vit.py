"""PSAQ-ViT: quantise without data, from images that the network itself asks for."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Method, Quantized
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import MinMax
from hwq.methods.patch_entropy import patch_entropy
from hwq.methods.psaq import PsaqSettings, Synthesis, make_images
from hwq.methods.workspace import NO_WORKSPACE, Workspace

# the published quantizer leaves the probabilities in floating point; the array takes codes
_SOFTMAX_BITS = 8
_NOISE_IMAGES = 8


@dataclass(frozen=True)
class PsaqViT(PsaqSettings, Method):
    """Min-max ranges of images made by patch-similarity entropy; options as `PsaqSettings`.

    Source: Li et al., ECCV 2022, arXiv 2203.02250. Images that are given are not calibrated on;
    findings compare their patch entropy with that of the made ones. Where this differs from the
    released code: quantizers stand on operands of matrix products only, not on sums and scores;
    queries, keys and values are symmetric; probabilities take 8-bit codes at every activation
    width, which the released code leaves in floating point; the entropy is evaluated on a grid
    finer than the kernels (trap T20), and only tokens that are no patches are dropped (trap T19).
    """

    name: ClassVar[str] = "psaq_vit"
    makes_images: ClassVar[bool] = True

    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise `graph`; see `Method.fit`."""
        synthesis = make_images(graph, self, calibration.device, workspace)
        images = Calibration(synthesis.pixels, device=calibration.device)
        fitted = MinMax(softmax_bits=_SOFTMAX_BITS).fit_all(graph, images, bits)
        notes = [f"calibrated on {len(images)} synthesised images; no data used"]
        if bits.activation != _SOFTMAX_BITS:
            notes.append(f"attention probabilities have {_SOFTMAX_BITS}-bit codes")
        findings = self._findings(graph, calibration, images, synthesis, workspace.seed)
        return Quantized(fitted.graph, (*fitted.notes, *notes), findings)

    def _findings(
        self, graph: Graph, given: Calibration, images: Calibration, synthesis: Synthesis, seed: int
    ) -> dict[str, Any]:
        noise = Calibration.noise(synthesis.pixels.shape[1:], _NOISE_IMAGES, seed)
        noise = replace(noise, device=images.device)
        findings = {
            "synthesised_images": len(images),
            "first_loss": synthesis.first_loss,
            "last_loss": synthesis.last_loss,
            "patch_entropy_noise": patch_entropy(graph, noise),
            "patch_entropy_synthesised": patch_entropy(graph, images),
        }
        if not given.synthetic:
            findings["patch_entropy_given"] = patch_entropy(graph, given.head(len(images)))
        return findings
