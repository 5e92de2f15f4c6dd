"""Losses of encoders against lightly's and open_clip's, by hand, and at their edges."""

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from voxmix.objectives.contrastive.losses import belong_together, contrastive_loss, sigmoid_loss, targets
from voxmix.objectives.dino.losses import (
    centered,
    dino_loss,
    entropy,
    ibot_loss,
    koleo_loss,
    sinkhorn,
)
from voxmix.objectives.images.alarms import mean_cosine

Oracle = Callable[[str], ModuleType]
DRAWS, PROTOTYPES, WIDTH = 6, 17, 12


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("local", [0, 3])
def test_dino_is_that_of_lightly(local: int, oracle: Oracle) -> None:
    theirs = oracle("lightly.loss.dino_loss").DINOLoss(PROTOTYPES)
    teacher, student = numbers(DRAWS, 2, PROTOTYPES), numbers(DRAWS, 2 + local, PROTOTYPES, seed=2)
    theirs.center.copy_(center := numbers(PROTOTYPES, seed=3))
    probable = centered(teacher.flatten(0, 1), center, temperature=0.05).view(teacher.shape)
    found = dino_loss(probable, student, temperature=0.1)
    wanted = theirs(list(teacher.unbind(1)), list(student.unbind(1)), teacher_temp=0.05)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_ibot_is_that_of_lightly_also_with_a_view_that_hides_nothing(oracle: Oracle) -> None:
    theirs = oracle("lightly.loss.ibot_loss").IBOTPatchLoss(PROTOTYPES)
    hidden = numbers(DRAWS, 16) > 0.5
    hidden[2] = False
    rows = int(hidden.sum())
    teacher, student = numbers(rows, PROTOTYPES), numbers(rows, PROTOTYPES, seed=2)
    theirs.center.center.copy_(center := numbers(PROTOTYPES, seed=3))
    wanted = theirs(teacher, student, hidden.view(DRAWS, 4, 4), teacher_temp=0.05)
    found = ibot_loss(centered(teacher, center, temperature=0.05), student, hidden, temperature=0.1)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_koleo_is_that_of_lightly(oracle: Oracle) -> None:
    theirs = oracle("lightly.loss.koleo_loss").KoLeoLoss()
    features = numbers(DRAWS, WIDTH)
    assert koleo_loss(features).item() == pytest.approx(theirs(features).item(), abs=1e-6)


def test_clip_is_that_of_open_clip_and_unicl_of_distinct_texts_is_clip(oracle: Oracle) -> None:
    theirs = oracle("open_clip.loss").ClipLoss()
    images, texts = normalize(numbers(DRAWS, WIDTH)), normalize(numbers(DRAWS, WIDTH, seed=2))
    logits = 14.3 * images @ texts.T
    clip = contrastive_loss(logits, torch.eye(DRAWS, dtype=torch.bool))
    assert clip.item() == pytest.approx(theirs(images, texts, 14.3).item(), abs=1e-6)
    distinct = belong_together(torch.tensor([5, 9, 1, 7, -2, 0]))
    assert contrastive_loss(logits, distinct).item() == clip.item()


def test_siglip_is_that_of_open_clip(oracle: Oracle) -> None:
    theirs = oracle("open_clip.loss").SigLipLoss()
    images, texts = normalize(numbers(DRAWS, WIDTH)), normalize(numbers(DRAWS, WIDTH, seed=2))
    scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    found = sigmoid_loss(scale * images @ texts.T + bias, torch.eye(DRAWS, dtype=torch.bool))
    assert found.item() == pytest.approx(theirs(images, texts, scale, bias).item(), rel=1e-6)


# The same formulas once more, from the papers, where the libraries are not installed.


def test_dino_by_hand() -> None:
    probable = torch.softmax(numbers(2, 2, 3), dim=-1)
    student = numbers(2, 3, 3, seed=2)
    each = [
        cross_entropy(student[d, s] / 0.1, probable[d, t])
        for d in range(2)
        for t in range(2)
        for s in range(3)
        if s != t
    ]
    assert dino_loss(probable, student, temperature=0.1).item() == pytest.approx(
        torch.stack(each).mean().item(), rel=1e-6
    )


def test_ibot_by_hand() -> None:
    hidden = torch.tensor([[True, True, False], [False, False, True]])
    probable, student = torch.softmax(numbers(3, 5), dim=-1), numbers(3, 5, seed=2)
    a, b, c = (cross_entropy(student[k] / 0.2, probable[k]).item() for k in range(3))
    found = ibot_loss(probable, student, hidden, temperature=0.2)
    assert found.item() == pytest.approx(((a + b) / 2 + c) / 2, rel=1e-6)
    nothing = ibot_loss(probable[:0], student[:0], torch.zeros(2, 3, dtype=torch.bool), temperature=0.2)
    assert nothing.item() == 0


def test_koleo_by_hand() -> None:
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.6, 0.8]])
    near = [math.sqrt(0.8), math.sqrt(0.4), math.sqrt(2), math.sqrt(0.4)]
    assert koleo_loss(features).item() == pytest.approx(-sum(map(math.log, near)) / 4, abs=3e-6)


def test_copies_of_an_image_give_koleo_neither_infinite_loss_nor_gradient() -> None:
    features = numbers(4, WIDTH)
    features[1], features[3] = features[0], features[2] * (1 + 1e-7)
    features.requires_grad_()
    loss = koleo_loss(features)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-3), rel=1e-4)
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.norm().item() < 1000


@pytest.mark.parametrize("temperature", [0.04, 1e-4])
def test_sinkhorn_balances_prototypes_and_rows_sum_to_one(temperature: float) -> None:
    logits = normalize(numbers(64, 8)) + torch.tensor([0.5, *[0.0] * 7])  # one that would get nearly all
    assert torch.softmax(logits / temperature, dim=1).sum(dim=0).max() > 20
    found = sinkhorn(logits, temperature=temperature, rounds=3)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(64))
    settled = sinkhorn(logits, temperature=0.2, rounds=200)
    torch.testing.assert_close(settled.sum(dim=0), torch.full((8,), 8.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(settled.sum(dim=1), torch.ones(64))


def test_sinkhorn_is_the_plain_one_of_the_paper() -> None:
    logits = normalize(numbers(10, 4))
    q = torch.exp(logits / 0.05).T
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(dim=1, keepdim=True) / 4
        q = q / q.sum(dim=0, keepdim=True) / 10
    torch.testing.assert_close(sinkhorn(logits, temperature=0.05), (q * 10).T, rtol=1e-5, atol=1e-7)


def test_a_student_that_knows_nothing_pays_the_logarithm_of_the_prototypes() -> None:
    probable = sinkhorn(numbers(8, PROTOTYPES), temperature=0.1).view(4, 2, PROTOTYPES)
    found = dino_loss(probable, torch.zeros(4, 5, PROTOTYPES), temperature=0.1)
    assert found.item() == pytest.approx(math.log(PROTOTYPES), rel=1e-6)


def test_the_target_matrix_by_hand() -> None:
    positive = belong_together(torch.tensor([4, 7, 4, 4, 9]))
    third = 1 / 3
    wanted = [
        [third, 0, third, third, 0],
        [0, 1, 0, 0, 0],
        [third, 0, third, third, 0],
        [third, 0, third, third, 0],
        [0, 0, 0, 0, 1],
    ]
    torch.testing.assert_close(targets(positive), torch.tensor(wanted))


def test_unicl_by_hand_and_who_knows_nothing_pays_the_logarithm_of_the_pairs() -> None:
    logits = numbers(3, 3)
    positive = belong_together(torch.tensor([1, 1, 2]))
    p, q = torch.log_softmax(logits, 1), torch.log_softmax(logits, 0)
    rows = -((p[0, 0] + p[0, 1]) / 2 + (p[1, 0] + p[1, 1]) / 2 + p[2, 2]) / 3
    columns = -((q[0, 0] + q[1, 0]) / 2 + (q[0, 1] + q[1, 1]) / 2 + q[2, 2]) / 3
    assert contrastive_loss(logits, positive).item() == pytest.approx(((rows + columns) / 2).item(), rel=1e-6)
    assert contrastive_loss(torch.zeros(3, 3), positive).item() == pytest.approx(math.log(3), rel=1e-6)


def test_entropy_and_cosine_by_hand() -> None:
    assert entropy(torch.tensor([[0.5, 0.5, 0.0]])).item() == pytest.approx(math.log(2))
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert mean_cosine(features).item() == pytest.approx(2 * math.sqrt(0.5) / 3, rel=1e-6)
