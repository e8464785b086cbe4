"""Accuracy of one quantised network, in float32, fake-quant and integers, on the same images."""

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How three forms of a network do on the same images.

    What belongs to the float or to the fake-quant network is None where that was not run.

    Parameters
    ----------
    images : int
        How many.
    top1_fp32, top1_fake_quant, top1_integer : float
        Percent of the images classified as labelled.
    integer_only, fake_quant_only : int
        Images that only the integer, and only the fake-quant network classifies as labelled.
    agreement_fp32, agreement_fake_quant : float
        Percent on which the integer network predicts what the other one does.
    integer_sqnr_fp32_db, fake_quant_sqnr_fp32_db, logit_sqnr_db : float or None
        SQNR of the logits: integer to fp32, fake-quant to fp32, integer to fake-quant; infinite,
        or None in what was written down, where they are equal.
    """

    images: int
    top1_fp32: float | None = None
    top1_fake_quant: float | None = None
    top1_integer: float
    integer_only: int | None = None
    fake_quant_only: int | None = None
    agreement_fp32: float | None = None
    agreement_fake_quant: float | None = None
    integer_sqnr_fp32_db: float | None = None
    fake_quant_sqnr_fp32_db: float | None = None
    logit_sqnr_db: float | None = None

    @property
    def integer_minus_fake_quant(self) -> float | None:
        """Difference of the top-1 accuracies in points."""
        if self.integer_only is None or self.fake_quant_only is None:
            return None
        return 100.0 * (self.integer_only - self.fake_quant_only) / self.images

    @property
    def standard_error(self) -> float | None:
        """Standard error of that difference in points.

        It is paired: only images on which the two differ count.
        """
        if self.integer_only is None or self.fake_quant_only is None:
            return None
        return 100.0 * sqrt(self.integer_only + self.fake_quant_only) / self.images
