"""The verb that hands results to other tools: encoders as a hub folder, mixtures for data loaders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voxmix._progress import waiting
from voxmix.cli.app import emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.study import Study

_STUDY_FILE = "study.yaml"


@verb
def export(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|STUDY", help="A study, the folder of a run, or an earlier export.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write; below STUDY/export or RUN/export if not given."
        ),
    ] = None,
    names: Annotated[
        Literal["monai-unetr", "monai-vit", "timm"], typer.Option(help="Naming scheme of the weights.")
    ] = "monai-unetr",
    monai: Annotated[
        Literal["1.3", "1.4", "1.5", "1.6"],
        typer.Option(help="MONAI's release line, for a strict load there."),
    ] = "1.6",
    license: Annotated[
        str | None, typer.Option(help="Identifier for the README's header, e.g. apache-2.0.")
    ] = None,
    mixture_for: Annotated[
        Literal["torch", "monai", "webdataset", "streaming", "nnssl"] | None,
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
    config.json, and a README.md with lines that load it. A mixture (--mixture-for) becomes weights, a list of samples
    and a script that draws by them, without voxmix.

    Examples:

      voxmix export mystudy

      voxmix export mystudy/runs/1f0c --names timm --license apache-2.0 -o encoder

      voxmix export mystudy --mixture-for webdataset --strategy uniform
    """
    study = _study_of(path)
    if mixture_for is not None:
        _refuse(seed, "--seed has no effect on a mixture")
        written = _export_mixture(path, study, output, loader=mixture_for, strategy=strategy)
    else:
        written = _export_encoder(
            path, study, output, strategy=strategy, seed=seed, names=names, line=monai, license=license
        )
    if as_json:
        emit_json(written)
        return
    if "weights" in written:
        rows = [[name, f"{weight:.1%}"] for name, weight in written["weights"].items()]
        emit_table("Mixture", ["domain", "weight"], rows)
    emit(f"\nwrote {written['folder']}: {', '.join(written['files'])}")
    emit(f"next: read {written['read']}")


def _study_of(path: Path) -> "Study | None":
    """Return the study that a path is, or that holds the run it is."""
    from voxmix.runs.files import CARD_FILE
    from voxmix.study import Study

    if path.name == _STUDY_FILE or (path / _STUDY_FILE).is_file():
        return Study.open(path)
    if _is_run(path):
        root = path.resolve().parent.parent
        return Study.open(root) if (root / _STUDY_FILE).is_file() else None
    raise InputError(
        f"{path} is neither a study (study.yaml) nor a finished run or export ({CARD_FILE}); give one of these"
    )


def _is_run(path: Path) -> bool:
    from voxmix.runs.files import CARD_FILE

    return (path / CARD_FILE).is_file()


def _refuse(value: object, why: str) -> None:
    if value is not None:
        raise InputError(f"{why}; leave it out")


def _export_encoder(
    path: Path,
    study: "Study | None",
    output: Path | None,
    *,
    strategy: str | None,
    seed: int | None,
    **options: Any,
) -> dict[str, Any]:
    from voxmix._optional import require
    from voxmix.study import exported_run, exported_strategy

    require("torch", extra="train")
    from voxmix.export.encoder import EXPORTED_FILES, export_encoder

    run = path
    if not _is_run(path):
        assert study is not None
        with waiting("choosing the run"):
            run = exported_run(study, exported_strategy(study, strategy), seed=seed)
    else:
        _refuse(strategy, "a run has one mixture, so --strategy has no effect")
        _refuse(seed, "a run has one seed, so --seed has no effect")
    folder = output or (path / "export" if _is_run(path) else run.parent.parent / "export" / "encoder")
    card = export_encoder(run, folder, **options)
    return {
        "folder": str(folder),
        "files": list(EXPORTED_FILES),
        "read": str(folder / "README.md"),
        "run": card["run_id"],
    }


def _export_mixture(
    path: Path, study: "Study | None", output: Path | None, *, loader: Any, strategy: str | None
) -> dict[str, Any]:
    from voxmix._io import read_mapping
    from voxmix.export.feeds import write_feed
    from voxmix.mixture import Mixture
    from voxmix.runs.files import CARD_FILE
    from voxmix.study import exported_mixture, exported_strategy, study_cache

    if study is None:
        raise InputError(
            f"{path} belongs to no study, so its volumes are not known; give the study for --mixture-for"
        )
    budget = study.config.allocation.budget
    if _is_run(path):
        _refuse(strategy, "a run has one mixture, so --strategy has no effect")
        card = read_mapping(path / CARD_FILE)
        mixture, budget = Mixture.from_dict(card["mixture"]), card["budget"]
    else:
        with waiting("choosing the mixture"):
            mixture = exported_mixture(study, exported_strategy(study, strategy))
    folder = output or study.root / "export" / loader
    files = write_feed(mixture, folder, loader=loader, budget=budget, cache=study_cache(study))
    return {
        "folder": str(folder),
        "files": [file.name for file in files],
        "read": str(files[-1]),
        "weights": mixture.as_dict(),
    }
