"""Digits and capital letters, read in fonts that the net has not seen.

36 classes of 20 x 20 pixels, drawn in matplotlib's own fonts: turned, shifted, noisy;
those to learn from are slanted and stretched, too. One net has seen no STIX,
the other no Computer Modern: prints how many of theirs each reads.
"""

import re
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling, Transform

import lamina as lm

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TEXT = re.compile("DejaVuS(?!.*Display)|STIXGeneral|cm(b|r|ss|ti|tt)10")  # no symbols
FILES = Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf")
FONTS = sorted(path for path in FILES if TEXT.match(path.name))


def draw(path, copies, rng, varied=False):
    """Rows of 400 pixels, and which character each is."""
    top = ImageFont.truetype(path, 100).getbbox("H", anchor="ls")[1]
    font = ImageFont.truetype(path, round(-2800 / top))  # H: 28 pixels of 40
    labels = np.repeat(np.arange(36), copies)
    pixels = np.empty((len(labels), 400))
    for row, label in zip(pixels, labels, strict=True):
        image = Image.new("L", (40, 40))
        left, top, right, bottom = font.getbbox(CHARACTERS[label])
        corner = 20 - (left + right) / 2, 20 - (top + bottom) / 2
        ImageDraw.Draw(image).text(corner, CHARACTERS[label], 255, font)
        a = rng.uniform(-0.12, 0.12)  # radians: 7 degrees
        low, high = ((0.85, 0.85, -0.3), (1.2, 1.2, 0.3)) if varied else [(1, 1, 0)] * 2
        across, down, slant = rng.uniform(low, high)
        matrix = np.array([[across, slant - a], [a, down]])
        shift = 20 - matrix @ (20 + rng.uniform(-2, 2, 2))  # by up to 1 pixel of 20
        numbers = np.column_stack([matrix, shift]).ravel()
        image = image.transform(
            (40, 40), Transform.AFFINE, numbers, Resampling.BILINEAR
        )
        row[:] = np.ravel(image.reduce(2))
    return pixels / 255 + rng.normal(0, 0.1, pixels.shape), labels


def main(copies=20, epochs=16):
    """By family: accuracy of the net that has not seen it."""
    rng, results = np.random.default_rng(0), {}
    varied = {path: draw(path, copies, rng, varied=True) for path in FONTS}
    for family, prefix in {"STIX": "STIX", "Computer Modern": "cm"}.items():
        unseen = [path for path in FONTS if path.name.startswith(prefix)]
        seen = [varied[path] for path in FONTS if path not in unseen]
        x, y = map(np.concatenate, zip(*seen, strict=True))
        hidden = lm.Dense(512, "relu"), lm.Dropout(0.5), lm.Dense(256, "relu")
        last = lm.Dropout(0.3), lm.Dense(36, "softmax")
        net = lm.Sequential([*hidden, *last], seed=0)
        net.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
        scores = {p.stem: net.evaluate(*draw(p, 10, rng))["accuracy"] for p in unseen}
        results[family] = float(np.mean([*scores.values()]))
        each = ", ".join(f"{font} {score:.3f}" for font, score in scores.items())
        print(f"{family}: accuracy {results[family]:.3f} ({each})")
    return results


if __name__ == "__main__":
    main()
