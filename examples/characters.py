"""Digits and capital letters, read in fonts that the net has not seen.

36 classes of 20 x 20 pixels, drawn in matplotlib's own fonts: turned, shifted, noisy;
those to learn from are slanted, stretched and thickened, too. One net has not seen STIX,
one none of Computer Modern, one not DejaVu Serif: prints what each reads of them.
"""

import re
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import lamina as lm

BILINEAR = Image.Resampling.BILINEAR
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FOLDER = Path(matplotlib.get_data_path(), "fonts", "ttf")
TEXT = re.compile("DejaVuS[a-zM-]+(?<!Display).ttf|STIXGeneral|cm(b|r|ss|ti|tt)10", re.I)
FONTS = sorted(path for path in FOLDER.glob("*.ttf") if TEXT.match(path.name))
HELD_OUT = {"STIX": "STIX", "Computer Modern": "cm", "DejaVu Serif": "DejaVuSerif"}


def draw(path, copies, rng, varied=False):
    """Rows of 400 pixels, and which character each is."""
    _, top, _, bottom = ImageFont.truetype(path, 100).getbbox("H")
    font = ImageFont.truetype(path, round(2800 / (bottom - top)))  # H: 28 pixels of 40
    labels = np.repeat(np.arange(36), copies)
    pixels = np.empty((len(labels), 400), np.float32)
    for row, label in zip(pixels, labels, strict=True):
        letter, stroke = CHARACTERS[label], int(rng.integers(3)) if varied else 0
        left, top, right, bottom = font.getbbox(letter, stroke_width=stroke)
        corner = 20 - (left + right) / 2, 20 - (top + bottom) / 2
        sheet = Image.new("L", (40, 40))
        ImageDraw.Draw(sheet).text(corner, letter, 255, font, stroke_width=stroke)
        a = rng.uniform(-0.12, 0.12)  # radians: 7 degrees
        matrix = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        if varied:
            across, down = rng.uniform(0.85, 1.2, 2)
            matrix = matrix @ [[across, rng.uniform(-0.3, 0.3)], [0, down]]
        shift = 20 - matrix @ (20 + rng.uniform(-2, 2, 2))  # a pixel of 20 x 20
        numbers = np.column_stack([matrix, shift]).ravel()
        turned = sheet.transform((40, 40), Image.Transform.AFFINE, numbers, BILINEAR)
        row[:] = np.ravel(turned.reduce(2))
    return pixels / 255 + rng.normal(0, 0.1, pixels.shape), labels


def main(held_out=tuple(HELD_OUT), copies=20, epochs=(12, 4)):
    """Accuracy of each net on the family of its name."""
    rng, accuracies = np.random.default_rng(0), {}
    varied = {path: draw(path, copies, rng, varied=True) for path in FONTS}
    for family in held_out:
        unseen = [path for path in FONTS if path.name.startswith(HELD_OUT[family])]
        seen = [varied[path] for path in FONTS if path not in unseen]
        net = lm.Sequential(
            [
                lm.Dropout(0.1),
                lm.Dense(512, activation="relu"),
                lm.Dropout(0.4),
                lm.Dense(256, activation="relu"),
                lm.Dropout(0.3),
                lm.Dense(36, activation="softmax"),
            ],
            seed=0,
        )
        x, y = map(np.concatenate, zip(*seen, strict=True))
        for count, rate in zip(epochs, (1e-3, 2e-4), strict=True):
            net.fit(x, y, epochs=count, batch_size=64, optimizer=lm.Adam(rate), verbose=0)
        scores = [net.evaluate(*draw(p, 20, rng))["accuracy"] for p in unseen]
        accuracies[family] = float(np.mean(scores))
        each = ", ".join(f"{p.stem} {s:.3f}" for p, s in zip(unseen, scores, strict=True))
        print(f"{family}: accuracy {accuracies[family]:.4f} ({each})")
    return accuracies


if __name__ == "__main__":
    main()
