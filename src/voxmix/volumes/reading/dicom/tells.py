"""What tells the images of one DICOM series apart: the elements of a header that do, as rows of a table.

Times, echoes, b-values, phases and Dixon images may share a series and every place in it. Neither the number of an
instance nor the name of its file says which image it belongs to, where one of these elements does.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

Part = tuple[bool, float, str]
Value = tuple[Part, ...]
"""What one slice says for a row, comparable with others: (is there, number, text) for each of its elements."""

_NONE: Part = (False, 0.0, "")

KEYWORDS = (
    "ImageType", "FrameType", "ComplexImageComponent", "EchoTime", "EffectiveEchoTime", "EchoNumbers",
    "DiffusionBValue", "DiffusionGradientOrientation", "TemporalPositionIdentifier", "TemporalPositionIndex",
    "StackID", "NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase", "InversionTime",
    "InversionTimes", "FlipAngle", "DimensionIndexValues", "AcquisitionNumber", "FrameAcquisitionNumber",
    "SeriesNumber", "SequenceName", "KVP", "ConvolutionKernel", "ContrastBolusAgent", "SliceThickness",
    "FrameReferenceTime", "FrameReferenceDateTime", "AcquisitionDateTime", "FrameAcquisitionDateTime",
    "AcquisitionDate", "AcquisitionTime", "TriggerTime", "NominalCardiacTriggerDelayTime",
    "ActualCardiacTriggerDelayTime", "ContentTime", "ImageIndex", "InstanceNumber",
)  # fmt: skip

_PRIVATE = {
    "SiemensBValue": (0x0019, "SIEMENS MR HEADER", 0x0C),
    "SiemensDirection": (0x0019, "SIEMENS MR HEADER", 0x0E),
    "GEBValue": (0x0043, "GEMS_PARM_01", 0x39),
    "GEDirectionX": (0x0019, "GEMS_ACQU_01", 0xBB),
    "GEDirectionY": (0x0019, "GEMS_ACQU_01", 0xBC),
    "GEDirectionZ": (0x0019, "GEMS_ACQU_01", 0xBD),
    "GEComponent": (0x0043, "GEMS_PARM_01", 0x2F),
    "PhilipsBValue": (0x2001, "Philips Imaging DD 001", 0x03),
    "PhilipsDirectionX": (0x2005, "Philips MR Imaging DD 001", 0xB0),
    "PhilipsDirectionY": (0x2005, "Philips MR Imaging DD 001", 0xB1),
    "PhilipsDirectionZ": (0x2005, "Philips MR Imaging DD 001", 0xB2),
}
"""Vendors' own elements, as dcm2niix knows them: name to group, creator of the block, element in it."""

PRIVATE_TAGS = tuple(
    (group, number)
    for group, element in sorted({(group, element) for group, _, element in _PRIVATE.values()})
    for number in (0x10, 0x1000 + element)
)
"""What to read of a header, so that the vendors' elements can be found: creators of the blocks, and elements."""

_KINDS = (
    ("M", "MAGNITUDE"), ("R", "REAL"), ("I", "IMAGINARY"), ("P", "PHASE", "PHASE MAP"),
    ("IP", "IN_PHASE"), ("OP", "OUT_PHASE", "OPP_PHASE", "OUT_OF_PHASE"), ("W", "WATER"), ("F", "FAT"), ("FF",),
    ("TRACEW", "TRACE"), ("ADC",), ("EADC",), ("FA",),
)  # fmt: skip
"""Words of an ImageType that say what a voxel means: parts of a complex image, Dixon, maps of diffusion."""

_SKIPPED = {"InStackPositionNumber", "ImagePositionPatient", "PlanePositionSequence", "SliceLocation"}
"""Dimensions of an enhanced file that count places, not images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One thing that may tell images apart.

    ``certain`` things never vary within one image. ``counts`` says that the order of the values at one place tells
    too where the values of different places differ (times, numbers); ``cyclic`` that they count within a cycle, a
    heartbeat, which may be longer at one place than at another.
    """

    words: str
    value: Callable[[Mapping[str, Any]], Value]
    certain: bool = False
    counts: bool = False
    cyclic: bool = False


def _elements(*names: str) -> Callable[[Mapping[str, Any]], Value]:
    """Return a reader of several elements, each with the names it may have, parted by |."""
    return lambda tells: tuple(_first(tells, name.split("|")) for name in names)


def _first(tells: Mapping[str, Any], names: list[str]) -> Part:
    return next((_part(tells[name]) for name in names if name in tells), _NONE)


def _part(value: Any) -> Part:
    items = _list(value)
    if not items or items[0] in (None, ""):
        return _NONE
    try:
        if len(items) == 1:
            return True, round(float(items[0]), 3), ""
    except (TypeError, ValueError):
        pass
    return True, 0.0, "\\".join(str(item) for item in items)


def _kind(tells: Mapping[str, Any]) -> Value:
    words = [str(word) for name in ("ImageType", "FrameType") for word in _list(tells.get(name))[2:]]
    words += [str(word) for word in _list(tells.get("ComplexImageComponent"))]
    known = sorted({i for i, kind in enumerate(_KINDS) for word in words if word.upper() in kind})
    return (*((True, float(index), "") for index in known), _first(tells, ["GEComponent"]))


def _b_value(tells: Mapping[str, Any]) -> Value:
    for name in ("DiffusionBValue", "SiemensBValue", "PhilipsBValue", "GEBValue"):
        if name in tells and (found := _list(tells[name])):
            there, number, text = _part(found[0])
            return (
                (there, number % 100_000 if name == "GEBValue" else number, text),
            )  # GE adds 10^9 to some.
    return (_NONE,)


def _direction(tells: Mapping[str, Any]) -> Value:
    for names in (
        ["DiffusionGradientOrientation"],
        ["SiemensDirection"],
        [f"GEDirection{axis}" for axis in "XYZ"],
        [f"PhilipsDirection{axis}" for axis in "XYZ"],
    ):
        found = [_part(item) for name in names for item in _list(tells.get(name))]
        if found:
            return tuple(found)
    return ()


def _dimensions(tells: Mapping[str, Any]) -> Value:
    return tuple(_part(item) for item in _list(tells.get("DimensionIndexValues")))


def _acquired(tells: Mapping[str, Any]) -> Value:
    """Return when a slice was acquired, in seconds, by whichever element says so."""
    both = next(
        (tells[name] for name in ("FrameAcquisitionDateTime", "AcquisitionDateTime") if tells.get(name)),
        f"{tells.get('AcquisitionDate') or '19000101'}{tells.get('AcquisitionTime') or ''}",
    )
    found = re.match(r"(\d{14})(\.\d+)?", str(both).replace(":", ""))
    if found is None:
        return (_NONE,)
    try:
        whole = datetime.strptime(found[1], "%Y%m%d%H%M%S") - datetime(1900, 1, 1)
    except ValueError:
        return (_NONE,)
    return ((True, whole.total_seconds() + float(found[2] or 0), ""),)


def _number(tells: Mapping[str, Any]) -> Value:
    return (_first(tells, ["InstanceNumber"]), (True, float(tells.get("frame", 0)), ""))


ROWS = (
    Row(words="kind of image (magnitude, phase, Dixon, maps)", value=_kind, certain=True),
    Row(
        words="temporal position",
        value=_elements("TemporalPositionIdentifier|TemporalPositionIndex"),
        certain=True,
    ),
    Row(words="echo", value=_elements("EffectiveEchoTime|EchoTime", "EchoNumbers"), certain=True),
    Row(words="b-value", value=_b_value, certain=True),
    Row(words="gradient direction", value=_direction),
    Row(words="stack", value=_elements("StackID")),
    Row(words="cardiac phase", value=_elements("NominalPercentageOfCardiacPhase")),
    Row(words="respiratory phase", value=_elements("NominalPercentageOfRespiratoryPhase")),
    Row(words="inversion time", value=_elements("InversionTimes|InversionTime")),
    Row(words="flip angle", value=_elements("FlipAngle")),
    Row(words="dimension indices", value=_dimensions),
    Row(words="time of the frame", value=_elements("FrameReferenceDateTime|FrameReferenceTime"), counts=True),
    Row(words="acquisition number", value=_elements("FrameAcquisitionNumber|AcquisitionNumber")),
    Row(words="series number", value=_elements("SeriesNumber")),
    Row(words="image type", value=_elements("FrameType|ImageType")),
    Row(words="sequence name", value=_elements("SequenceName")),
    Row(words="tube voltage", value=_elements("KVP")),
    Row(words="kernel", value=_elements("ConvolutionKernel")),
    Row(words="contrast agent", value=_elements("ContrastBolusAgent")),
    Row(words="slice thickness", value=_elements("SliceThickness")),
    Row(
        words="trigger time",
        value=_elements("NominalCardiacTriggerDelayTime|ActualCardiacTriggerDelayTime|TriggerTime"),
        counts=True,
        cyclic=True,
    ),
    Row(words="acquisition time", value=_acquired, counts=True),
    Row(words="content time", value=_elements("ContentTime"), counts=True),
    Row(words="image index", value=_elements("ImageIndex"), counts=True),
    Row(words="instance number", value=_number, counts=True),
)
"""In the order in which images are counted: what stands first changes slowest."""


def tells_of(
    header: Any, frame_number: int = 0, frame: Any = None, shared: Any = None, skip: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Return what a slice says of the elements above: of its header, or of the groups of its frame first.

    ``skip`` are the dimensions that count places (:func:`place_dimensions`).
    """
    present = header.keys()
    tells = {name: header[tag].value for name, tag in _tags().items() if tag in present}
    for name, (group, creator, element) in _PRIVATE.items():
        if (group << 16) + 0x1000 + element in present:
            try:
                tells[name] = _plain(header.private_block(group, creator)[element].value)
            except (KeyError, AttributeError):
                continue
    for holder in (shared, frame):
        _gather(holder, tells, depth=3)
    if "DimensionIndexValues" in tells:
        values = _list(tells["DimensionIndexValues"])
        tells["DimensionIndexValues"] = [value for place, value in enumerate(values) if place not in skip]
    return {**tells, "frame": frame_number}


@lru_cache(maxsize=1)
def _tags() -> dict[str, int]:
    from pydicom.datadict import tag_for_keyword

    return {name: tag for name in KEYWORDS if (tag := tag_for_keyword(name)) is not None}


def place_dimensions(header: Any) -> tuple[int, ...]:
    """Return which of an enhanced file's dimension indices count places."""
    from pydicom.datadict import keyword_for_tag

    found = header.get("DimensionIndexSequence") or []
    return tuple(
        place
        for place, item in enumerate(found)
        if keyword_for_tag(item.get("DimensionIndexPointer", 0)) in _SKIPPED
    )


def _gather(holder: Any, tells: dict[str, Any], *, depth: int) -> None:
    """Add the elements of a group of an enhanced file, and of the groups in it."""
    for element in holder or ():
        if element.VR == "SQ":
            if depth and element.value and not element.tag.is_private:
                _gather(element.value[0], tells, depth=depth - 1)
        elif element.keyword in KEYWORDS:
            tells[element.keyword] = element.value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str | bytes):
        return [value]
    return list(value) if hasattr(value, "__iter__") else [value]


def _plain(value: Any) -> Any:
    """Return a value whose type the header did not say: text, or doubles, or a float."""
    import struct

    if not isinstance(value, bytes):
        return value
    try:
        text = value.decode("ascii").strip("\0 ")
        parts = [float(part) for part in text.split("\\")]
        return parts[0] if len(parts) == 1 else parts
    except ValueError:
        pass
    if len(value) % 8 == 0 and value:
        return list(struct.unpack(f"<{len(value) // 8}d", value))
    return struct.unpack("<f", value)[0] if len(value) == 4 else None
