"""Sections about what was run: sample volumes, runs, limits."""

from voxmix.report import runs_tables, tables
from voxmix.report.content import ReportContent
from voxmix.report.layout import Block, PictureRow, Section
from voxmix.report.pictures import png_uri


def pictures_section(content: ReportContent) -> Section:
    name, title = "volumes", "Sample volumes"
    if not content.pictures:
        missing = "No pictures yet: they are made by finished runs."
        return Section(name=name, title=title, missing=missing, command="voxmix pretrain")
    rows = tuple(
        PictureRow(
            domain=picture.domain,
            images=(
                ("original", png_uri(picture.original)),
                ("masked", png_uri(picture.masked)),
                ("reconstructed", png_uri(picture.reconstructed)),
            ),
        )
        for picture in content.pictures
    )
    caption = (
        "Central slices of held-out volumes: as they are, with the hidden patches black, and with those "
    )
    return Section(
        name=name, title=title, blocks=(Block(pictures=rows, caption=caption + "patches reconstructed."),)
    )


def runs_section(content: ReportContent) -> Section:
    blocks = []
    if content.domains:
        aside = runs_tables.set_aside_table(content)
        blocks.append(
            Block(
                heading="Volumes",
                bullets=tuple(text for domain in content.domains for text in domain.complaints),
                shown=(runs_tables.volumes_table(content), *([aside] if aside else [])),
            )
        )
    if content.runs:
        blocks.append(
            Block(
                heading="Runs",
                shown=(runs_tables.kinds_table(content),),
                tables=(runs_tables.runs_table(content),),
            )
        )
    blocks += [
        Block(heading=key, shown=(tables.facts_table(key, values),)) for key, values in content.facts.items()
    ]
    missing = "" if content.runs else "No finished runs are listed."
    return Section(
        name="runs", title="What was run", blocks=tuple(blocks), missing=missing, command="voxmix run"
    )


def limits_section(content: ReportContent) -> Section:
    bullets = [
        "The law assumes that transfer adds up (or, in the diversity law, that variety counts the same way "
        "everywhere), that one transfer value holds for all budgets, and that a target has the same "
        "irreducible loss whatever the source. In small studies these hold only roughly: losses fall in "
        "steps, and a source's loss on a far target levels off above the target's own.",
        "The measured loss is masked reconstruction on held-out volumes, a proxy. Whether a lower loss makes a "
        "better encoder for a clinical task must be measured on that task.",
        "Intervals cover the noise between runs. They do not cover the choice of patients, scanners and "
        "hospitals. A mixture inherits the biases of its sources.",
        "Draws are not volumes: a domain with few volumes is repeated, and repeats are worth less.",
    ]
    if content.law_file:  # what its losses are of is not known
        del bullets[1]
    cite = (
        "Lee et al. (2026). Knowledge Transfer Scaling Laws for 3D Medical Imaging. arXiv:2605.06859. "
        "The two-stage law, the allocation and the strategies are theirs.",
        "voxmix, version as listed above: diversity law, certificate, intervals and this report.",
    )
    return Section(
        name="limits",
        title="Limits, and how to cite",
        blocks=(Block(bullets=tuple(bullets)), Block(heading="Cite", bullets=cite)),
    )
