"""What people are told of a preparation, in sentences: the space it needs, what was set aside, what was odd."""

from voxmix._io import size_text
from voxmix.volumes.auditing.sentences import aside_lines, complaint_lines, finding_lines
from voxmix.volumes.preparing.cache_upkeep import Space
from voxmix.volumes.preparing.prepare import Preparation


def space_line(space: Space) -> str:
    """Return what preparing needs on the disk and what is free."""
    return f"needs up to {size_text(space.needed)} more disk space, {size_text(space.free)} is free"


def preparation_lines(preparation: Preparation, *, crop: int | None = None) -> list[str]:
    """Return what was set aside, assumed, mended and odd; ``crop`` is that of the study, None without one."""
    fitness = preparation.cache.fitness(crop=crop)
    return [
        *aside_lines(preparation.set_aside),
        *(f"{path}: {remark}" for path, remark in preparation.notes),
        *preparation.remarks,
        *finding_lines(preparation.findings, fitness),
        *complaint_lines(fitness, where="study.yaml" if crop else "a study or recipe file"),
    ]
