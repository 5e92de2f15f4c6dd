"""The same drawing in fewer bytes: matplotlib writes six decimals, a line per point and an id per group."""

import re

_TAG = re.compile(r"<[a-zA-Z][^>]*>")
_PLACES = re.compile(r'\b(d|x|y|transform)="([^"]*)"')
_STYLE = re.compile(r'style="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d+")
_INVISIBLE = re.compile(r'<path d="[^"]*" style="fill:none"/>')
_EMPTY = re.compile(r"<g>\s*</g>|<g/>")


def lean_svg(svg: str) -> str:
    """Return the drawing with places to a hundredth of a unit, and no id that nothing refers to.

    What is seen stays: a unit is about a pixel. Outlines that have neither fill nor stroke are left out.
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
    return re.sub(r">\s+<", "><", svg).strip()


def _shorter(found: re.Match[str]) -> str:
    """Return one attribute of places with short numbers, and letters of a path without spaces around them."""
    name, value = found.groups()
    value = _NUMBER.sub(lambda number: _short(number.group()), value)
    if name == "d":
        value = re.sub(r"\s*([A-Za-z])\s*", r"\1", value)
    return f'{name}="{value.strip()}"'


def _short(number: str) -> str:
    text = f"{float(number):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
