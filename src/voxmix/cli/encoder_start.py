"""How the command line starts an encoder study: what init and demo are given, and what they say."""

from collections.abc import Sequence
from pathlib import Path

from voxmix._amounts import whole_amount
from voxmix._io import as_argument
from voxmix.cli.app import emit, emit_json
from voxmix.errors import InputError
from voxmix.study.files import ENCODERS, is_study, kind_of


def begin(
    study: Path,
    *,
    images: Path | None,
    volumes: Path | None,
    slices: bool,
    objective: Sequence[str] | None,
    samples: str | None,
    start: Sequence[str] | None,
    edge: int | None,
    label: Sequence[str] | None,
    preset: str,
    domains: Sequence[str],
    exclude: Sequence[str],
    task_images: Sequence[Path] | None,
    reference: Sequence[str] | None,
    as_json: bool,
) -> None:
    """Start a study of encoders, print what was found, and where its settings are."""
    from voxmix.encoder_study import MadeRadiographs, start_encoder_study

    begun = start_encoder_study(
        study,
        images=images,
        radiographs=MadeRadiographs() if images is None and volumes is None else None,
        volumes=volumes,
        slices=slices,
        objectives=[name.strip() for given in objective or () for name in given.split(",") if name.strip()],
        samples=sample_sizes(samples),
        starts=start_folders_of(start),
        preset=preset,
        edge=edge,
        labels=label or (),
        domains=domains,
        exclude=exclude,
        task_images=task_images or (),
        references=reference_folders_of(reference),
    )
    config = begun.study.config
    if as_json:
        emit_json(
            {
                "study": str(study),
                "seen": list(begun.seen),
                "training_images": begun.training_images,
                "objectives": list(config.objectives),
                "samples": list(config.design.samples),
                "starts": {
                    name: None if name not in begun.starts else begun.starts[name].digest
                    for name in config.starts
                },
                "seeds": config.design.seeds,
                "budget": config.design.budget,
                "budget_unit": config.design.budget_unit,
                "tasks": {name: task.kind for name, task in config.tasks.items()},
                "references": list(config.references),
                "study_file": str(begun.study.path),
            }
        )
        return
    for line in begun.seen:
        emit(line)
    sizes = ", ".join(str(size) for size in config.design.samples)
    what = "images" if config.backbone.axes == 2 else "volumes"
    emit(
        f"\n{', '.join(config.objectives)} from {', '.join(config.starts)} on {sizes} of {begun.training_images:,} training "
        f"{what}, {config.design.seeds} seeds, {config.design.budget:,} {config.design.budget_unit} each"
    )
    if config.tasks:
        told = ", ".join(f"{name} ({task.kind})" for name, task in config.tasks.items())
        emit(f"judged on {told}")
    emit(f"\nWrote {begun.study.path}: read it")


def begin_demo(root: Path) -> None:
    """Start the demo in a new folder; one that is there is gone on with.

    Raises:
        InputError: the folder is a study of another kind, or of images of the user's.
    """
    from voxmix.encoder_study import EncoderView, start_encoder_study
    from voxmix.encoder_study.presets import DEMO_RADIOGRAPHS

    if not is_study(root):
        start_encoder_study(root, radiographs=DEMO_RADIOGRAPHS, preset="demo")
        return
    if kind_of(root) != ENCODERS or EncoderView.open(root).config.data.radiographs is None:
        raise InputError(
            f"{root} is a study, and not this demo; continue it with: voxmix study run {as_argument(root)}"
        )


def sample_sizes(text: str | None) -> tuple[int | str, ...]:
    """Return sizes of subsets from a text such as "64,256,all".

    Raises:
        InputError: a part that is neither a whole number nor all.
    """
    from voxmix.subsets import ALL

    found: list[int | str] = []
    for part in (text or "").replace(" ", "").split(","):
        if not part:
            continue
        try:
            found.append(part if part == ALL else whole_amount(part))
        except InputError as error:
            raise InputError(
                f"--samples {text!r}: {part!r} is no number of images; e.g. --samples 64,256,1k,all"
            ) from error
    return tuple(found)


def start_folders_of(given: Sequence[str] | None) -> dict[str, Path | None] | None:
    """Return start to folder from texts such as "rad-dino=FOLDER"; scratch has none. None where nothing is given.

    Raises:
        InputError: a text without a name or a folder, or a name twice.
    """
    from voxmix.probe_tasks import SCRATCH

    named = [text for text in given or () if text != SCRATCH]
    found = _folders_of(named, flag="--start", kept=SCRATCH)
    if (given or ()).count(SCRATCH) > 1:
        raise InputError(f"--start names {SCRATCH} twice; give every start once")
    in_order = [text.partition("=")[0] for text in given or ()]
    return {name: found.get(name) for name in in_order} or None


def reference_folders_of(given: Sequence[str] | None) -> dict[str, Path]:
    """Return reference to folder from texts such as "rad-dino=FOLDER".

    Raises:
        InputError: as :func:`start_folders_of`.
    """
    return _folders_of(given or (), flag="--reference")


def _folders_of(given: Sequence[str], *, flag: str, kept: str = "") -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not name or not folder or name == kept:
            raise InputError(
                f"{flag} {text!r} should be NAME=FOLDER (a folder of weights on this machine)"
                + (f", or {kept}" if kept else "")
            )
        if name in found:
            raise InputError(f"{flag} names {name} twice; give every name once")
        found[name] = Path(folder)
    return found
