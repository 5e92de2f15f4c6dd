"""The same drawing in fewer bytes: matplotlib writes six decimals, a line per point and an id per group."""

import math
import re
from collections import Counter

_TAG = re.compile(r"<[a-zA-Z][^>]*>")
_PLACES = re.compile(r'\b(d|x|y|transform)="([^"]*)"')
_STYLE = re.compile(r'style="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d+")
_INVISIBLE = re.compile(r'<path d="[^"]*" style="fill:none"/>')
_EMPTY = re.compile(r"<g>\s*</g>|<g/>")

_LINE = re.compile(r"\s*M (\S+ \S+\s+L ){8,}\S+ \S+\s*")
_OFF = 0.06
_OFTEN = 3


def lean_svg(svg: str, name: str) -> str:
    """Return the drawing with places to a hundredth of a unit, and no id that nothing refers to.

    What is seen stays: a unit is about a pixel. Points of a long line that lie on it, and outlines that have neither fill nor stroke, are left out. A style that many parts have is
    written once, as a class whose name begins with ``name``, unique in the page.
    """
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
    kept = {name for pair in used for name in pair if name}

    def tag(found: re.Match[str]) -> str:
        text = re.sub(
            r'\s+id="([^"]+)"', lambda own: own.group() if own.group(1) in kept else "", found.group()
        )
        text = re.sub(r'\stransform="rotate\(-?0 [^"]*"', "", text)
        text = _PLACES.sub(_shorter, text)
        return _STYLE.sub(lambda own: re.sub(r"([:;]) ", r"\1", own.group()), text)

    svg = _INVISIBLE.sub("", _TAG.sub(tag, svg))
    before = ""
    while before != svg:
        before, svg = svg, _EMPTY.sub("", svg)
    return _with_classes(re.sub(r">\s+<", "><", svg).strip(), name)


def _with_classes(svg: str, name: str) -> str:
    """Return the drawing with each style that three parts or more have written once."""
    counts = Counter(_STYLE.findall(svg))
    classes = {
        style: f"{name}-{k}" for k, style in enumerate(s for s, count in counts.items() if count >= _OFTEN)
    }
    if not classes:
        return svg
    rules = "".join(f".{own}{{{style[7:-1]}}}" for style, own in classes.items())
    svg = _STYLE.sub(lambda s: f'class="{classes[s.group()]}"' if s.group() in classes else s.group(), svg)
    return f"<style>{rules}</style>{svg}"


def _shorter(found: re.Match[str]) -> str:
    """Return one attribute of places with short numbers, and letters of a path without spaces around them."""
    name, value = found.groups()
    value = _NUMBER.sub(lambda number: _short(number.group()), value)
    if name == "d" and _LINE.fullmatch(value):
        value = _straight(value)
    if name == "d":
        value = re.sub(r"\s*([A-Za-z])\s*", r"\1", value)
    return f'{name}="{value.strip()}"'


def _straight(line: str) -> str:
    """Return a long line without the points that lie within 0.06 units of it (Ramer 1972; Douglas and Peucker 1973)."""
    numbers = [float(number) for number in re.findall(r"[-\d.]+", line)]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    kept, spans = {0, len(points) - 1}, [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        (x, y), (u, v) = points[first], points[last]
        length = math.hypot(u - x, v - y) or 1.0
        away = [
            abs((u - x) * (y - b) - (x - a) * (v - y)) / length
            if (u, v) != (x, y)
            else math.hypot(a - x, b - y)
            for a, b in points[first + 1 : last]
        ]
        if away and max(away) > _OFF:
            middle = first + 1 + away.index(max(away))
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return "M" + "L".join(f"{_short(str(a))} {_short(str(b))}" for a, b in (points[k] for k in sorted(kept)))


def _short(number: str) -> str:
    text = f"{float(number):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
