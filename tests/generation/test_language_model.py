"""Language models of a local folder: frozen weights stay to the bit, LoRA learns, and what cannot be used is refused."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_reports import changed_config, check_steps_are_the_whole, made

from voxmix.errors import InputError, MissingDependencyError
from voxmix.generation.language_model import LanguageModel
from voxmix.generation.write import write_reports
from voxmix.probe_tasks import ReportSettings
from voxmix.texts.scoring import score_texts

pytest.importorskip("transformers")
NAMES = ("gpt2", "llama")


@pytest.fixture
def copy(language_models, tmp_path: Path) -> Path:
    """A GPT-2 that a test may damage."""
    shutil.copytree(language_models["gpt2"], tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", NAMES)
def test_one_token_after_the_other_is_the_whole_at_once(name: str, language_models) -> None:
    check_steps_are_the_whole(LanguageModel(language_models[name], positions=20))


def test_it_writes_as_transformers_does(language_models) -> None:
    """Greedy, from embeddings alone."""
    import transformers

    from voxmix.generation.decoding import write_greedily

    model = LanguageModel(language_models["llama"], positions=40)
    prefix = torch.randn(3, 4, model.width)
    ours = write_greedily(model, prefix, tokens=12, repeat=0)
    library = transformers.AutoModelForCausalLM.from_pretrained(language_models["llama"]).eval()
    theirs = library.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(3, 4, dtype=torch.long),
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=model.end,
    )
    for one, other in zip(ours, theirs.tolist(), strict=True):
        assert one == (other[: other.index(model.end)] if model.end in other else other)


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_model_stays_to_the_bit_and_its_adapter_learns(
    name: str, language_models, tokenizer, monkeypatch
) -> None:
    kept: list[LanguageModel] = []
    init = LanguageModel.__init__

    def keep(self, *args, **more) -> None:
        init(self, *args, **more)
        kept.append(self)

    monkeypatch.setattr(LanguageModel, "__init__", keep)
    settings = ReportSettings(decoder=str(language_models[name]), prefix=4, tokens=30, epochs=8, rate=1e-2)
    found = _write(settings)
    again = LanguageModel(language_models[name], positions=20).network.state_dict()
    after = kept[0].network.state_dict()
    assert after.keys() == again.keys()
    assert all(torch.equal(after[key], again[key]) for key in after)
    assert not any(one.grad is not None for one in kept[0].network.parameters())
    assert min(found.learned.losses) < found.learned.losses[0] - 0.03
    assert found == _write(settings)


@pytest.mark.parametrize("name", NAMES)
def test_lora_alone_is_trained_and_begins_as_the_model(name: str, language_models) -> None:
    pytest.importorskip("peft")
    frozen = ReportSettings(decoder=str(language_models[name]), prefix=4, tokens=30, epochs=8, rate=1e-2)
    plain, lora = _write(frozen), _write(replace(frozen, lora=4))
    assert lora.weights > plain.weights
    assert lora == _write(replace(frozen, lora=4))
    model = LanguageModel(language_models[name], positions=20, lora=4)
    before = LanguageModel(language_models[name], positions=20)
    trained = [key for key, one in model.network.named_parameters() if one.requires_grad]
    assert trained
    assert all("lora_" in key for key in trained)
    prefix, tokens = torch.randn(1, 3, model.width), torch.randint(3, 100, (1, 5))
    with torch.no_grad():  # at its start it changes nothing
        torch.testing.assert_close(model.logits(prefix, tokens), before.logits(prefix, tokens))


def _write(settings: ReportSettings):
    train, test = made(40, seed=1), made(5, seed=2)
    return write_reports(
        train.features, train.texts, np.arange(40) % 5 == 0, test.features, tokenizer=None, settings=settings
    )


def test_with_lora_it_says_what_is_in_the_features(language_models) -> None:
    pytest.importorskip("peft")
    train, test = made(240, seed=1), made(40, seed=2)
    settings = ReportSettings(
        decoder=str(language_models["gpt2"]), lora=16, prefix=4, tokens=40, epochs=25, patience=25, rate=1e-2
    )
    found = write_reports(
        train.features, train.texts, np.arange(240) % 5 == 0, test.features, tokenizer=None, settings=settings
    )
    others = [np.roll(found.texts, places).tolist() for places in (1, 5, 9, 13, 17)]  # texts of other images
    own, *chance = (
        score_texts(texts, test.texts, names=["label F1"]).mean("label F1")
        for texts in (found.texts, *others)
    )
    assert own > 0.75
    assert own > np.mean(chance) + 0.25
    assert found.learned.without_images > min(found.learned.losses) + 0.05


def test_lora_without_peft_is_refused(language_models, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        MissingDependencyError, match=r"LoRA: .*voxmix\[reports\].*leave probes.reports.lora at 0"
    ):
        LanguageModel(language_models["gpt2"], positions=20, lora=2)


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _nonsense_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _damaged_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"nonsense")


def _more_layers(folder: Path) -> None:
    changed_config(folder, n_layer=3)


def _fewer_layers(folder: Path) -> None:
    changed_config(folder, n_layer=1)


def _own_code(folder: Path) -> None:
    changed_config(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})


def _not_causal(folder: Path) -> None:
    changed_config(folder, model_type="bert", architectures=["BertForMaskedLM"])


def _both_ways(folder: Path) -> None:
    changed_config(folder, model_type="t5", architectures=["T5ForConditionalGeneration"])


def _unknown(folder: Path) -> None:
    changed_config(folder, model_type="nobody-knows")


def _no_end(folder: Path) -> None:
    changed_config(folder, eos_token_id=None)


def _large_tokenizer(folder: Path) -> None:
    from voxmix.texts.tokenizer import fit_tokenizer

    texts = [f"word{k} other{k}" for k in range(400)] * 2
    fit_tokenizer(texts, vocabulary=900).save(folder / "tokenizer.json")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_no_config, "no language model in .*: it has no config.json"),
        (_no_tokenizer, "has no tokenizer.json"),
        (_nonsense_tokenizer, "tokenizer.json cannot be read"),
        (_pickle, "only pytorch_model.bin, a pickle, which can run code"),
        (_no_weights, "has no weights"),
        (_damaged_weights, "the weights in .* cannot be read"),
        (_more_layers, r"do not fit its config.json: \d+ are missing, e.g. "),
        (_fewer_layers, r"do not fit its config.json: \d+ are unexpected, e.g. "),
        (_own_code, "needs its own code"),
        (_not_causal, "is BertForMaskedLM, no causal language model"),
        (_both_ways, "is T5ForConditionalGeneration, no causal language model"),
        (_unknown, "transformers does not know the model"),
        (_no_end, "does not say which token ends a text"),
        (_large_tokenizer, "give the tokenizer that belongs to the model"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(damage, sentence: str, copy: Path) -> None:
    damage(copy)
    with pytest.raises(InputError, match=sentence) as caught:
        LanguageModel(copy, positions=20)
    assert len(str(caught.value).splitlines()) == 1


def test_more_positions_than_the_model_has_are_refused(language_models) -> None:
    with pytest.raises(
        InputError, match=r"reads 64 tokens, and prefix and tokens are 104; lower probes.reports.tokens"
    ):
        LanguageModel(language_models["gpt2"], positions=104)


def test_the_end_may_be_named_by_the_tokenizer(copy: Path, tokenizer) -> None:
    changed_config(copy, eos_token_id=None)
    (copy / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}), encoding="utf-8")
    assert LanguageModel(copy, positions=20).end == tokenizer.end


def test_settings_know_the_model_by_its_content(language_models, tmp_path: Path) -> None:
    one, other = (replace(ReportSettings(), decoder=str(language_models[name])).digest for name in NAMES)
    assert len({one, other, ReportSettings().digest}) == 3
    shutil.copytree(language_models["gpt2"], tmp_path / "elsewhere")
    moved = ReportSettings(decoder="elsewhere").below(tmp_path)
    assert moved.digest == one
    changed_config(tmp_path / "elsewhere", n_head=1)
    assert moved.digest != one
    assert ReportSettings().below(tmp_path) == ReportSettings()


def test_settings_know_the_weights_of_scores_by_their_content(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "inner").mkdir(parents=True)
        (tmp_path / place / "inner/weights.th").write_bytes(b"one")
    here, there = (ReportSettings(weights={"RadGraph F1": str(tmp_path / p)}) for p in ("here", "there"))
    one = here.digest
    assert one == there.digest != ReportSettings().digest
    (tmp_path / "here/inner/weights.th").write_bytes(b"other")
    assert here.digest != one == there.digest


def test_lora_without_a_language_model_is_refused() -> None:
    with pytest.raises(InputError, match="lora adapts a language model"):
        ReportSettings(lora=4)
