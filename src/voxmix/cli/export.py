"""The verb that hands results to other tools: encoders as a hub folder, mixtures for data loaders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.kinds import do
from voxmix.errors import InputError
from voxmix.export.loaders import Loader
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.study import StudyView


@verb
def export(
    path: Annotated[Path, or_here("RUN|STUDY", "A study, the folder of a run, or an earlier export.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write; below STUDY/export or RUN/export if not given."
        ),
    ] = None,
    names: Annotated[
        Literal["monai-unetr", "monai-vit", "timm"] | None,
        typer.Option(help="Naming scheme of a study of mixtures' weights; monai-unetr if not given."),
    ] = None,
    monai: Annotated[
        Literal["1.3", "1.4", "1.5", "1.6"] | None,
        typer.Option(help="MONAI's release line, for a strict load there; 1.6 if not given."),
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Identifier for the README's header, e.g. apache-2.0.")
    ] = None,
    mixture_for: Annotated[
        Loader | None,
        typer.Option(help="Write the mixture for this data loader instead of the encoder."),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Strategy of the study; its answer if not given.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the strategy's run; the first if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write an encoder or a mixture for other tools.

    An encoder becomes a folder that a model hub takes: model.safetensors, card.json with the preprocessing,
    config.json, and a README.md with lines that load it. A run of a study of encoders becomes a folder that transformers
    opens where it has the network (a ViT of DINOv2's kind in 2D), else one under voxmix's own names. A mixture (--mixture-for) becomes weights, a list of samples
    and a script that draws by them, without voxmix.

    Examples:

      voxmix export mystudy

      voxmix export mystudy/runs/1f0c --names timm --license apache-2.0 -o encoder

      voxmix export cxr/runs/77ab -o encoder

      voxmix export mystudy --mixture-for webdataset --strategy uniform
    """
    options: dict[str, Any] = {
        "output": output,
        "names": names,
        "monai": monai,
        "license": license,
        "mixture_for": mixture_for,
        "strategy": strategy,
        "seed": seed,
        "as_json": as_json,
    }
    if is_study(path):
        do("export", path, check=False, **options)
    else:
        _export(path, **options)


def export_mixtures(view: "StudyView", **options: Any) -> None:
    """Write the encoder or the mixture of a study of mixtures."""
    _export(view.root, **options)


def _export(
    path: Path,
    *,
    output: Path | None = None,
    names: str | None = None,
    monai: str | None = None,
    license: str | None = None,
    mixture_for: Loader | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    as_json: bool = False,
) -> None:
    from voxmix.study import export_encoder_of, export_mixture_of

    if mixture_for is not None:
        if seed is not None:
            raise InputError("--seed has no effect on a mixture; leave it out")
        written = export_mixture_of(path, loader=mixture_for, output=output, strategy=strategy, hear=TERMINAL)
    else:
        written = export_encoder_of(
            path,
            output=output,
            strategy=strategy,
            seed=seed,
            names=names,
            line=monai,
            license=license,
            hear=TERMINAL,
        )
    weights = None if written.mixture is None else written.mixture.as_dict()
    if as_json:
        value = {"folder": str(written.folder), "files": list(written.files), "read": str(written.read)}
        emit_json({**value, **({"run": written.run} if weights is None else {"weights": weights})})
        return
    if weights is not None:
        rows = [[name, f"{weight:.1%}"] for name, weight in weights.items()]
        emit_table("Mixture", ["domain", "weight"], rows)
    emit(f"\nwrote {written.folder}: {', '.join(written.files)}")
    emit(f"next: read {written.read}")
