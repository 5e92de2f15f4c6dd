"""What the verbs that train share: flags for how runs are computed, progress, and what became of the runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import note
from voxmix.errors import VoxmixError

if TYPE_CHECKING:
    from voxmix.design import RunSpec
    from voxmix.store import Study

DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda or mps; the study's compute.device if left out."),
]
DevicesOption = Annotated[
    int | None, typer.Option("--devices", help="Processes that share every batch of one run.")
]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", help="Of several devices: ddp (whole network in each) or fsdp.")
]
MicroBatchOption = Annotated[
    int | None, typer.Option("--micro-batch", help="Draws computed at once: less memory, the same result.")
]
CompileOption = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Fuse the network with torch.compile.")
]
LoadersOption = Annotated[
    int | None, typer.Option("--loaders", help="Threads per run that read crops ahead; 0: none.")
]
TrackerOption = Annotated[
    list[str] | None, typer.Option("--tracker", help="tensorboard, mlflow, wandb; repeat for more.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Runs at the same time; every GPU or core if left out.")
]


def computed_so(study: "Study", *, workers: int | None, **flags: Any) -> "Study":
    """Return the study with the compute settings that were given as flags; its file is left as it is.

    Raises:
        InputError: a value that cannot be used.
    """
    from dataclasses import asdict, replace

    from voxmix.compute import ComputeSettings
    from voxmix.store import checked

    given = {name: value for name, value in flags.items() if value is not None}
    compute = study.config.compute
    if given:
        compute = checked(ComputeSettings, asdict(compute) | given, where="the command line")
    config = replace(study.config, compute=compute, workers=workers or study.config.workers)
    return replace(study, config=config)


def train_runs(study: "Study", specs: tuple["RunSpec", ...], label: str) -> None:
    """Train the runs that are pending and say which failed, and which begun ones no longer belong to the study.

    Raises:
        VoxmixError: a run failed; the others are kept.
    """
    from voxmix.experiment import train_pending

    pending = study.pending(specs)
    left = study.left_behind()
    if left:
        note(
            f"{len(left)} run(s) were begun with settings that {study.root / 'study.yaml'} no longer has "
            f"({', '.join(path.name for path in left[:3])}{', ...' if len(left) > 3 else ''}); they are kept: "
            "restore the settings to go on with them, or delete their folders"
        )
    if not pending:
        return
    with progress_bar(label, unit=pending[0].budget_unit) as progress:
        failed = train_pending(study, specs, progress=progress)
    if failed:
        for failure in failed:
            note(f"run {failure.spec.run_id} ({_words(failure.spec)}) failed: {failure.reason}")
        raise VoxmixError(
            f"{len(failed)} of {len(pending)} runs failed (see above); the others are kept. "
            "Mend the cause and give the same command again"
        )


def _words(spec: "RunSpec") -> str:
    return f"{spec.mixture.source or 'a mixture'}, {spec.budget:,} {spec.budget_unit}"
