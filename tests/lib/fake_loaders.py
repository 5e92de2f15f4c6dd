"""What the scripts for TorchIO and for Hugging Face datasets use of them, in small, where the libraries are not installed.

Calls are those of torchio 1.2.1 and datasets 5.2.0; ``make check-interchange`` runs the scripts with the libraries themselves.
"""

from types import ModuleType
from typing import Any

import numpy as np


def fake_torchio() -> ModuleType:
    """Return a module with the queue, the samplers and the loader that feed_torchio.py uses."""
    import torch

    class ScalarImage:
        def __init__(self, path: Any, *, reader: Any) -> None:
            self.path, self.reader = path, reader

    class UniformSampler:
        def __init__(self, patch_size: int) -> None:
            self.edge = patch_size

    class Queue:
        def __init__(self, subjects: Any, *, max_length: int, samples_per_volume: int, sampler: UniformSampler,
                     subject_sampler: Any, shuffle_subjects: bool, num_workers: int) -> None:  # fmt: skip
            assert not shuffle_subjects, "the queue refuses both"
            self.subjects, self.each, self.sampler = subjects, samples_per_volume, sampler
            self.by, self.length = subject_sampler, max_length

        def __iter__(self) -> Any:
            for index in self.by:
                subject = self.subjects[index]
                data, affine = subject["image"].reader(subject["image"].path)
                assert data.dtype == torch.float32
                assert affine.shape == (4, 4)
                for _ in range(self.each):
                    x, y, z = (
                        int(torch.randint(edge - self.sampler.edge + 1, ())) for edge in data.shape[1:]
                    )
                    n = self.sampler.edge
                    yield {**subject, "image": {"data": data[:, x : x + n, y : y + n, z : z + n]}}

    def loader(queue: Queue, *, batch_size: int) -> Any:
        held = []
        for each in queue:
            held.append(each)
            if len(held) == batch_size:
                yield _batch(held)
                held = []
        if held:
            yield _batch(held)

    def _batch(held: list[Any]) -> Any:
        crops = torch.stack([one["image"]["data"] for one in held])
        return {"image": {"data": crops}, "domain": [one["domain"] for one in held]}

    module = ModuleType("torchio")
    module.__dict__.update(
        ScalarImage=ScalarImage, UniformSampler=UniformSampler, Queue=Queue, SubjectsLoader=loader,
        Subject=lambda **parts: parts, SubjectsDataset=lambda subjects, transform=None: subjects,
    )  # fmt: skip
    return module


def fake_datasets() -> ModuleType:
    """Return a module with the table and the interleaving that feed_datasets.py uses."""

    class Dataset:
        def __init__(self, rows: list[dict[str, Any]], transform: Any = None) -> None:
            self.rows, self.transform = rows, transform

        @classmethod
        def from_dict(cls, columns: dict[str, list[Any]]) -> "Dataset":
            return cls([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])

        def shuffle(self, seed: int) -> "Dataset":
            return self.select(np.random.default_rng(seed).permutation(len(self)))

        def select(self, indices: Any) -> "Dataset":
            return Dataset([self.rows[i] for i in indices], self.transform)

        def with_transform(self, transform: Any) -> "Dataset":
            return Dataset(self.rows, transform)

        def __len__(self) -> int:
            return len(self.rows)

        def __iter__(self) -> Any:
            for row in self.rows:
                batch = self.transform({name: [value] for name, value in row.items()})
                yield {name: values[0] for name, values in batch.items()}

    def interleave(parts: Any, *, probabilities: Any, seed: int, stopping_strategy: str) -> Dataset:
        rng, at, rows = np.random.default_rng(seed), [0] * len(parts), []
        ended = any if stopping_strategy == "first_exhausted" else all
        while not ended(n >= len(part) for n, part in zip(at, parts, strict=True)):
            which = rng.choice(len(parts), p=probabilities)
            rows.append(parts[which].rows[at[which] % len(parts[which])])
            at[which] += 1
        return Dataset(rows)

    module = ModuleType("datasets")
    module.__dict__.update(Dataset=Dataset, interleave_datasets=interleave)
    return module
