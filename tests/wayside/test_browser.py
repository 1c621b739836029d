"""The page in a real browser: what the file says is what a person sees, in light and in dark."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from tests.pipelines.query.city import city
from wayside.pictures import draw

pytestmark = pytest.mark.proof

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
GREEN = (0x2F, 0x9E, 0x6E)
"""Of a window in which every poll arrived."""


def seen(page: Path, directory: Path, *more: str) -> NDArray[np.uint8]:
    """Take a picture of the page: (height, width, 3)."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on this machine: apt-get install --no-install-recommends chromium")
    picture = directory / "page.png"
    subprocess.run(
        [program, *QUIET, *more, f"--user-data-dir={directory / 'profile'}", "--window-size=1200,1800",
         f"--screenshot={picture}", page.absolute().as_uri()],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    return np.asarray(imread(picture)[:, :, :3] * 255).round().astype(np.uint8)


def share(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> float:
    near = np.abs(picture.astype(int) - colour).max(axis=2) <= 3
    return float(near.mean())


def test_a_person_sees_the_pictures(tmp_path: Path) -> None:
    page = draw(city(tmp_path / "store.db"), tmp_path / "page.html", title="A city")
    light = seen(page, tmp_path)
    assert light[0, 0].min() > 230
    assert 0.01 < share(light, GREEN) < 0.5
    dark = seen(page, tmp_path, "--force-dark-mode", "--enable-features=WebContentsForceDark:inversion_method/none")
    assert dark[0, 0].max() < 60
