"""hwq: what a quantized Vision Transformer delivers and costs, in integers, on a systolic array."""

from pathlib import Path

__version__ = "0.1.0"
__all__ = ["__version__"]

# A wheel carries rtl/ and models/ inside hwq/; a checkout has them beside it.
_here = Path(__file__).resolve().parent
if not (_here / "rtl").is_dir():
    __path__.append(str(_here.parent))
