"""Loading an encoder changes the encoder and nothing else; the controls do what they say."""

from dataclasses import replace

import pytest
import torch

from voxmix.datasets.task import Task
from voxmix.downstream.networks import EncoderClassifier, build_network, flops_per_crop, initialize, permuted
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.encoders.mae import MaskedAutoencoder
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings

CLASSES = Task(name="kinds", kind="classification", domain="CT", classes={"a": (0,), "b": (1,)})
both_kinds = pytest.mark.parametrize("kind", ["segmentation", "classification"])


@pytest.fixture(scope="module")
def protocols(task: Task, model_settings: ModelSettings) -> dict[str, Protocol]:
    settings = FinetuneSettings(feature_size=4)
    return {
        t.kind: Protocol(task=t, model=model_settings, cases="", settings=settings) for t in (task, CLASSES)
    }


@pytest.fixture(scope="module")
def pretrained(model_settings: ModelSettings) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    encoder = MaskedAutoencoder(model_settings, domains=2).encoder
    return {f"vit.{name}": tensor.clone() + 0.01 for name, tensor in encoder.state_dict().items()}


@both_kinds
def test_loading_changes_exactly_the_encoder(
    kind: str, protocols: dict[str, Protocol], pretrained: dict[str, torch.Tensor]
) -> None:
    protocol = protocols[kind]
    scratch = build_network(protocol, classes=3, seed=1)
    loaded = build_network(protocol, classes=3, seed=1)
    initialize(loaded, pretrained)
    before, after = scratch.state_dict(), loaded.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == set(pretrained)
    for name, tensor in pretrained.items():
        assert torch.equal(after[name], tensor)


@both_kinds
def test_frozen_encoder_keeps_its_weights(
    kind: str, protocols: dict[str, Protocol], pretrained: dict[str, torch.Tensor]
) -> None:
    protocol = protocols[kind]
    network = build_network(protocol, classes=3, seed=0)
    initialize(network, pretrained, control="frozen")
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.rand(2, 1, 16, 16, 16)).square().mean().backward()
    optimizer.step()
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in pretrained.items())
    fresh = build_network(protocol, classes=3, seed=0).state_dict()
    changed = [n for n, t in network.state_dict().items() if not torch.equal(t, fresh[n]) and n[:4] != "vit."]
    assert changed


def test_permuted_weights_are_the_same_numbers_elsewhere(pretrained: dict[str, torch.Tensor]) -> None:
    shuffled = permuted(pretrained, seed=0)
    for name, tensor in pretrained.items():
        assert torch.equal(shuffled[name].flatten().sort().values, tensor.flatten().sort().values)
    kernel = "vit.patch_embedding.patch_embeddings.weight"
    assert not torch.equal(shuffled[kernel], pretrained[kernel])
    assert torch.equal(permuted(pretrained, seed=0)[kernel], shuffled[kernel])
    assert not torch.equal(permuted(pretrained, seed=1)[kernel], shuffled[kernel])


def test_without_tokens_the_encoder_cannot_be_heard(
    protocols: dict[str, Protocol], pretrained: dict[str, torch.Tensor]
) -> None:
    image = torch.rand(1, 1, 16, 16, 16)
    answers = {}
    for control in (None, "no-tokens"):
        for shift in (0.0, 0.5):
            network = build_network(protocols["segmentation"], classes=3, seed=0).eval()
            initialize(network, {k: v + shift for k, v in pretrained.items()}, control=control)
            answers[control, shift] = network(image)
    assert torch.equal(answers["no-tokens", 0.0], answers["no-tokens", 0.5])
    assert not torch.allclose(answers[None, 0.0], answers[None, 0.5])


def test_an_encoder_that_does_not_fit_is_refused(
    protocols: dict[str, Protocol], pretrained: dict[str, torch.Tensor]
) -> None:
    network = build_network(protocols["segmentation"], classes=3, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=r"norm\.weight"):
        initialize(network, {**pretrained, "vit.norm.weight": torch.ones(5)})
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_classifier_averages_the_tokens(model_settings: ModelSettings) -> None:
    network = EncoderClassifier(model_settings, classes=2).eval()
    image = torch.rand(1, 1, 16, 16, 16)
    tokens = network.vit.patch_embedding(image)
    for block in network.vit.blocks:
        tokens = block(tokens)
    expected = network.head(network.norm(network.vit.norm(tokens).mean(dim=1)))
    torch.testing.assert_close(network(image), expected)


def test_compute_grows_with_the_network(protocols: dict[str, Protocol]) -> None:
    small = flops_per_crop(protocols["segmentation"], classes=3)
    larger = replace(protocols["segmentation"], settings=FinetuneSettings(feature_size=8))
    assert (
        0 < flops_per_crop(protocols["classification"], classes=3) < small < flops_per_crop(larger, classes=3)
    )
