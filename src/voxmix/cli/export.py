"""The verb that hands results to other tools: encoders as a hub folder, mixtures for data loaders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.kinds import do
from voxmix.errors import InputError
from voxmix.export.targets import Loader, Names
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.study import StudyView
    from voxmix.study.exports import Exported


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
        Names | None,
        typer.Option(
            help="Naming scheme of a study of mixtures' weights; monai-unetr if not given. nnunet: a trainer beside them."
        ),
    ] = None,
    monai: Annotated[
        Literal["1.3", "1.4", "1.5", "1.6"] | None,
        typer.Option(help="MONAI's release line, for a strict load there; 1.6 if not given."),
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Identifier for the README's header, e.g. apache-2.0.")
    ] = None,
    data_license: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DOMAIN=LICENSE",
            help="License of a domain's data, for the model card; repeat it for more.",
        ),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload the encoder to this repository of the Hugging Face hub; private if it is new.",
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let a new repository be seen by all.")] = False,
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
    config.json, and a model card, README.md, with lines that load it. --push-to-hub uploads it. A run of a study of encoders becomes a folder that transformers
    opens where it has the network (a ViT of DINOv2's kind in 2D), else one under voxmix's own names. A mixture (--mixture-for) becomes weights, a list of samples
    and a script that draws by them, without voxmix.

    Examples:

      voxmix export mystudy

      voxmix export mystudy/runs/1f0c --names timm --license apache-2.0 -o encoder

      voxmix export cxr/runs/77ab -o encoder

      voxmix export mystudy --names nnunet --data-license ABD-CT=CC-BY-4.0

      voxmix export mystudy --push-to-hub my-lab/encoder

      voxmix export mystudy --mixture-for webdataset --strategy uniform
    """
    options: dict[str, Any] = {
        "output": output,
        "names": names,
        "monai": monai,
        "license": license,
        "data_license": data_license,
        "push_to_hub": push_to_hub,
        "public": public,
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
    data_license: list[str] | None = None,
    push_to_hub: str | None = None,
    public: bool = False,
    mixture_for: Loader | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    as_json: bool = False,
) -> None:
    from voxmix.study import export_encoder_of, export_mixture_of

    if public and push_to_hub is None:
        raise InputError("--public has no effect without --push-to-hub; give that too, or leave it out")
    if mixture_for is not None:
        of_encoders = {"--seed": seed, "--data-license": data_license, "--push-to-hub": push_to_hub}
        if given := [flag for flag, value in of_encoders.items() if value not in (None, [])]:
            raise InputError(f"{given[0]} has no effect on a mixture; leave it out")
        written = export_mixture_of(path, loader=mixture_for, output=output, strategy=strategy, hear=TERMINAL)
    else:
        client = None if push_to_hub is None else _client(push_to_hub)  # asked first: an export may take long
        written = export_encoder_of(
            path,
            output=output,
            strategy=strategy,
            seed=seed,
            names=names,
            line=monai,
            license=license,
            data_license=data_license or None,
            hear=TERMINAL,
        )
    address = None
    if push_to_hub is not None and mixture_for is None:
        address = _push(written, push_to_hub, public=public, client=client)
    weights = None if written.mixture is None else written.mixture.as_dict()
    if as_json:
        value = {"folder": str(written.folder), "files": list(written.files), "read": str(written.read)}
        value |= {} if address is None else {"address": address}
        emit_json({**value, **({"run": written.run} if weights is None else {"weights": weights})})
        return
    if weights is not None:
        rows = [[name, f"{weight:.1%}"] for name, weight in weights.items()]
        emit_table("Mixture", ["domain", "weight"], rows)
    emit(f"\nwrote {written.folder}: {', '.join(written.files)}")
    if address is not None:
        emit(f"uploaded to {address}")
    emit(f"next: read {written.read}")


def _client(repository: str) -> Any:
    from voxmix.export.hub import check_hub

    return check_hub(repository)


def _push(written: "Exported", repository: str, *, public: bool, client: Any) -> str:
    from voxmix.export.hub import push_folder

    with TERMINAL.waiting("uploading"):
        return push_folder(written.folder, repository, names=written.files, public=public, client=client)
