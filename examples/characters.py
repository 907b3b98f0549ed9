"""Digits and capital letters, read in fonts that the net has not seen.

36 classes of 20 x 20 pixels, drawn in matplotlib's own fonts: turned, shifted, noisy.
One net has seen no STIX, the other no Computer Modern: what each reads of them.
"""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import lamina as lm

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FOLDER = Path(matplotlib.get_data_path(), "fonts", "ttf")
TEXT = "DejaVuS*[!y].ttf", "STIXGeneral*", "cm[brst][1ist]*"  # no symbols, no Display
FONTS = [path for pattern in TEXT for path in sorted(FOLDER.glob(pattern))]
PLAIN = (1, 1, 0, -0.12, 18, 18), (1, 1, 0, 0.12, 22, 22)  # 7 degrees, 2 of 40 pixels
VARIED = (0.85, 0.85, -0.3, -0.12, 18, 18), (1.2, 1.2, 0.3, 0.12, 22, 22)


def draw(path, copies, limits, rng):
    """Rows of 400 pixels, and which character each is; limits of shape and place."""
    top = ImageFont.truetype(path, 100).getbbox("H", anchor="ls")[1]
    font = ImageFont.truetype(path, round(-2800 / top))  # H: 28 pixels of 40
    pixels, labels = np.empty((36 * copies, 400)), np.repeat(np.arange(36), copies)
    for row, label in zip(pixels, labels, strict=True):
        middle = np.reshape(font.getbbox(CHARACTERS[label]), (2, 2)).mean(axis=0)
        image = Image.new("L", (40, 40))
        ImageDraw.Draw(image).text(tuple(20 - middle), CHARACTERS[label], 255, font)
        across, down, slant, turn, x, y = rng.uniform(*limits)
        matrix = np.array([[across, slant - turn], [turn, down]])
        affine = np.column_stack([matrix, 20 - matrix @ [x, y]]).ravel()
        image = image.transform((40, 40), Image.AFFINE, affine, Image.BILINEAR)
        row[:] = np.ravel(image.reduce(2))
    return pixels / 255 + rng.normal(0, 0.1, pixels.shape), labels


def main(copies=20):
    """By family: accuracy of the net that has not seen it."""
    rng, results = np.random.default_rng(0), {}
    drawn = {path: draw(path, copies, VARIED, rng) for path in FONTS}
    for family, prefix in ("STIX", "STIX"), ("Computer Modern", "cm"):
        unseen = [path for path in FONTS if path.name.startswith(prefix)]
        seen = [drawn[path] for path in FONTS if path not in unseen]
        x, y = map(np.concatenate, zip(*seen, strict=True))
        first = lm.Dropout(0.2), lm.Dense(512, "relu"), lm.Dropout(0.5)
        second = lm.Dense(256, "relu"), lm.Dense(36, "softmax")
        net = lm.Sequential([*first, *second], seed=0)
        net.fit(x, y, epochs=16, batch_size=64, verbose=0)
        scores = [net.evaluate(*draw(p, 10, PLAIN, rng))["accuracy"] for p in unseen]
        results[family] = float(np.mean(scores))
        print(f"{family}: accuracy {results[family]:.3f}, worst font {min(scores):.3f}")
    return results


if __name__ == "__main__":
    main()
