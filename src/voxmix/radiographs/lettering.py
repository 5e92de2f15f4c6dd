"""Letters burnt into films: markers of the side, and words of the room."""

import numpy as np
from jaxtyping import Bool

_GLYPHS = {
    "A": "01110100011000111111100011000110001", "B": "11110100011000111110100011000111110",
    "C": "01111100001000010000100001000001111", "D": "11110100011000110001100011000111110",
    "E": "11111100001000011110100001000011111", "I": "01110001000010000100001000010001110",
    "L": "10000100001000010000100001000011111", "M": "10001110111010110101100011000110001",
    "N": "10001110011010110011100011000110001", "O": "01110100011000110001100011000101110",
    "P": "11110100011000111110100001000010000", "R": "11110100011000111110101001001010001",
    "S": "01111100001000001110000010000111110", "T": "11111001000010000100001000010000100",
    "U": "10001100011000110001100011000101110", " ": "0" * 35,
}  # fmt: skip


def lettering(text: str, height: int) -> Bool[np.ndarray, "row col"]:
    """Return the pixels of a text in capitals, at least 5 pixels high."""
    height = max(height, 5)
    rows = []
    for letter in text:
        glyph = np.array([int(bit) for bit in _GLYPHS[letter]], dtype=bool).reshape(7, 5)
        rows.append(np.pad(glyph, ((0, 0), (0, 1))))
    small = np.concatenate(rows, axis=1)[:, :-1]
    width = max(1, round(small.shape[1] * height / 7))
    row = np.rint(np.linspace(0, 6, height)).astype(int)
    column = np.rint(np.linspace(0, small.shape[1] - 1, width)).astype(int)
    return np.asarray(small[np.ix_(row, column)])


def place(canvas: Bool[np.ndarray, "row col"], stamp: Bool[np.ndarray, "h w"], top: int, left: int) -> None:
    """Set a stamp's pixels on a canvas; what lies outside is lost."""
    rows, columns = canvas.shape
    row0, column0 = max(top, 0), max(left, 0)
    row1, column1 = min(top + stamp.shape[0], rows), min(left + stamp.shape[1], columns)
    if row1 > row0 and column1 > column0:
        canvas[row0:row1, column0:column1] |= stamp[row0 - top : row1 - top, column0 - left : column1 - left]


def ring(size: int) -> Bool[np.ndarray, "h w"]:
    """Return a circle of one to two pixels, ``size`` across."""
    middle = (size - 1) / 2
    away = np.hypot(*np.meshgrid(np.arange(size) - middle, np.arange(size) - middle, indexing="ij"))
    return np.asarray(np.abs(away - middle + 0.6) <= max(0.7, size / 24))
