import numpy as np
import pytest

TINY = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0}


@pytest.fixture(scope="session")
def float_network(tiny_module, tiny_prepared):
    """Return the tiny network as `open_network` would."""
    from hwq.api.network import FloatNetwork, state_sha256
    from hwq.models.preprocessing import Preprocessing

    digest = state_sha256(tiny_module)
    return FloatNetwork("tiny", Preprocessing(**TINY), tiny_prepared, "random", digest)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of six labelled images."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for wnid in ("n01440764", "n01484850"):
        place = tmp_path / "images" / wnid
        place.mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def few_psaq_images(monkeypatch):
    """Let `--calib psaq` make four images, two at a time, in two steps."""
    from hwq.api import images
    from hwq.methods.psaq import PsaqSettings

    monkeypatch.setattr(images, "_SETTINGS", PsaqSettings(count=4, iterations=2, batch=2))
