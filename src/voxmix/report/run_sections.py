"""Sections about what was run: sample volumes, runs, where it all comes from."""

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
                shown=(runs_tables.volumes_table(content), *([aside] if aside else [])),
            )
        )
    if content.runs:
        blocks.append(
            Block(
                heading="Runs",
                shown=(runs_tables.kinds_table(content),),
                tables=(runs_tables.runs_table(content),),
                paper=False,
            )
        )
    missing = "" if content.runs else "No finished runs are listed."
    return Section(
        name="runs", title="What was run", blocks=tuple(blocks), missing=missing, command="voxmix run"
    )


def provenance_section(content: ReportContent) -> Section:
    """Where the numbers come from: versions, machine, digests; and how to cite."""
    cite = (
        "Lee et al. (2026). Knowledge Transfer Scaling Laws for 3D Medical Imaging. arXiv:2605.06859. "
        "The two-stage law, the allocation and the strategies are theirs.",
        "voxmix, version as listed here: diversity law, certificate, intervals and this report.",
    )
    facts = tuple(
        Block(heading=key, shown=(tables.facts_table(key, values),), paper=False)
        for key, values in content.facts.items()
    )
    return Section(
        name="provenance",
        title="Where it comes from, and how to cite",
        blocks=(Block(heading="Cite", bullets=cite), *facts),
    )
