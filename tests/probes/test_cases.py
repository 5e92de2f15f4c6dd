"""Clinical tasks of volumes are tasks of probes: the same cases, the same test persons."""

from pathlib import Path

import numpy as np
import pytest

from voxmix.backbone_rows import VitSettings
from voxmix.datasets.task import Task
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe

nibabel = pytest.importorskip("nibabel")

from voxmix.downstream.build_cases import build_cases  # noqa: E402
from voxmix.downstream.cases import CaseSet  # noqa: E402
from voxmix.probes.data_of_cases import probe_data_of_cases  # noqa: E402
from voxmix.probes.encoder import untrained_encoder  # noqa: E402
from voxmix.probes.features import FeatureStore  # noqa: E402
from voxmix.probes.judge import judge  # noqa: E402

RECIPE = Recipe(
    spacing_mm=2.0,
    min_shape=(16, 16, 16),
    crop_foreground=False,
    intensity={"CT": IntensityRule(kind="window", low=0, high=1)},
)
BOXES = Task(
    name="boxes",
    kind="segmentation",
    domain="CT",
    classes={"background": (0,), "box": (1,), "bar": (2,)},
    split=(0.6, 0.2, 0.2),
)
BRIGHT = Task(
    name="bright", kind="classification", domain="CT", layout="class-folders", split=(0.5, 0.1, 0.4)
)


def write(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1])).to_filename(path)


@pytest.fixture
def boxes(tmp_path: Path) -> CaseSet:
    rng = np.random.default_rng(0)
    for number in range(10):
        labels = np.zeros((18, 18, 18), np.uint8)
        labels[4:9, 3:8, 5:12], labels[10:12, 3:14, 4:6] = 1, 2
        image = (rng.uniform(0, 0.3, labels.shape) + 0.3 * labels).astype(np.float32)
        write(tmp_path / f"boxes/CT/p{number}/p{number}.nii.gz", image)
        write(tmp_path / f"boxes/CT/p{number}/p{number}_seg.nii.gz", labels)
    return build_cases(BOXES, tmp_path / "boxes", root=tmp_path / "cases", recipe=RECIPE, crop=16)[0]


@pytest.fixture
def bright(tmp_path: Path) -> CaseSet:
    rng = np.random.default_rng(0)
    for number in range(20):
        image = rng.uniform(0.0, 0.2, (18, 18, 18)) + 0.5 * (number % 2)
        write(tmp_path / f"bright/{('dark', 'light')[number % 2]}/p{number}.nii.gz", image.astype(np.float32))
    return build_cases(BRIGHT, tmp_path / "bright", root=tmp_path / "cases", recipe=RECIPE, crop=16)[0]


def test_masks_are_those_of_the_label_maps(boxes: CaseSet) -> None:
    data = probe_data_of_cases(ProbeTask(kind="masks"), boxes)
    assert (data.axes, data.names) == (3, ("box", "bar"))
    assert {case.case for case in data.part("test")} == {case.name for case in boxes.part("test")}
    assert len(data.part("train")) == 8
    for case in data.cases:
        mask, labels = data.mask(case), boxes.labels(case.item)
        assert mask is not None
        assert np.array_equal(mask[0], labels == 1)
        assert np.array_equal(mask[1], labels == 2)
        assert data.pixels(case).shape == labels.shape
    only = probe_data_of_cases(ProbeTask(kind="masks", masks=("bar",)), boxes)
    found = only.mask(only.cases[0])
    assert found is not None
    assert len(found) == 1
    assert only.digest != data.digest


def test_a_classification_of_volumes_is_judged(bright: CaseSet, tmp_path: Path) -> None:
    data = probe_data_of_cases(ProbeTask(kind="classes", column="class"), bright)
    encoder = untrained_encoder(VitSettings(image=16, patch=8, width=12, depth=1, heads=2, axes=3))
    found = judge(
        data,
        encoder,
        JudgedEncoder(name="untrained", encoder=encoder.digest),
        store=FeatureStore(tmp_path / "f"),
        folder=tmp_path / "p",
        settings=ProbeSettings(penalties=(1e-2,)),
    ).result
    assert found.classes == ("dark", "light")
    assert all(np.argmax(case.probability) == case.truth for case in found.cases)  # type: ignore[union-attr]
    assert len(found.cases) == len(bright.part("test"))


def test_another_kind_of_task_is_refused(boxes: CaseSet) -> None:
    with pytest.raises(
        InputError, match="a segmentation of volumes, which a probe of kind classes cannot use; take masks"
    ):
        probe_data_of_cases(ProbeTask(kind="classes", column="x"), boxes)
    with pytest.raises(InputError, match="no volume has the mask 'tube'; there are: box, bar"):
        probe_data_of_cases(ProbeTask(kind="masks", masks=("tube",)), boxes)
