"""LanguageModel: any causal language model of a local Hugging Face folder as a decoder, frozen or with LoRA.

Nothing is fetched and no code of the folder is run: config.json, tokenizer.json and safetensors are read, weights as pickles are
refused, and every weight that is missing or unexpected too.
"""

import json
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from voxmix._io import read_mapping
from voxmix._optional import require
from voxmix.errors import InputError, MissingDependencyError

_GIVE = "give the folder of a causal language model with config.json, tokenizer.json and safetensors"
_ALPHA = 2
"""Scale of LoRA's update, in ranks."""


class LanguageModel:
    """A causal language model; a :class:`~voxmix.generation.decoder.Decoder`.

    Args:
        folder: as transformers writes it.
        positions: prefix embeddings and tokens that a text may have in all.
        lora: rank of LoRA in every linear layer; 0 leaves all weights frozen.
        seed: decides where LoRA begins.

    Raises:
        InputError: no such folder, no tokenizer, weights as a pickle, no causal language model, one that needs its own code,
            weights that do not fit, or fewer positions than asked for.
        MissingDependencyError: transformers (or, for LoRA, peft) is not installed.
    """

    def __init__(self, folder: Path, *, positions: int, lora: int = 0, seed: int = 0) -> None:
        config = _config(folder)
        self._tokenizer = _tokenizer(folder)
        self.end = _end(folder, config, self._tokenizer)
        model = _model(folder)
        entries = model.get_input_embeddings().weight.detach()
        if self._tokenizer.get_vocab_size(with_added_tokens=True) > len(entries) or self.end >= len(entries):
            raise InputError(
                f"the tokenizer of {folder} has {self._tokenizer.get_vocab_size(with_added_tokens=True)} tokens and the model "
                f"embeddings for {len(entries)}; give the tokenizer that belongs to the model"
            )
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if most is not None and positions > most:
            raise InputError(
                f"the language model in {folder} reads {most} tokens, and prefix and tokens are {positions}; lower "
                "probes.reports.tokens or prefix"
            )
        self.width, self.scale = int(entries.shape[1]), float(entries.float().square().mean().sqrt())
        model.requires_grad_(False)
        _check_causal(model, folder)
        self._model = _with_lora(model, lora, seed) if lora else model
        self._embed = model.get_input_embeddings()
        names = signature(model.forward).parameters
        self._cache = "cache" if "cache" in names else "past_key_values"  # its name before transformers 5.24

    @property
    def network(self) -> nn.Module:
        """The model: frozen, or with the weights of LoRA to be trained. Dropout stays off."""
        return _Quiet(self._model)

    def encode(self, texts: Sequence[str]) -> list[Int[np.ndarray, " _"]]:
        """Return the tokens of texts by the model's own tokenizer: no begin, ``end`` last."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array([*one.ids, self.end], dtype=np.int64) for one in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def logits(
        self, prefix: Float[Tensor, "batch prefix width"], tokens: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token entry"]:
        """Return, for every token, what the prefix and the tokens before it make likely there."""
        rows = torch.cat([prefix, self._embed(tokens[:, :-1])], dim=1)
        found: Tensor = self._model(inputs_embeds=rows, use_cache=False).logits
        return found[:, prefix.shape[1] - 1 :]

    def begin(self, prefix: Float[Tensor, "batch prefix width"]) -> tuple[Float[Tensor, "batch entry"], Any]:
        """Return what is likely as first token, and the model's own cache."""
        return self._go_on(prefix, None)

    def step(self, tokens: Int[Tensor, " batch"], state: Any) -> tuple[Float[Tensor, "batch entry"], Any]:
        """Return what is likely after one more token, and the cache."""
        return self._go_on(self._embed(tokens.unsqueeze(1)), state)

    def _go_on(
        self, rows: Float[Tensor, "batch new width"], state: Any
    ) -> tuple[Float[Tensor, "batch entry"], Any]:
        found = self._model(
            inputs_embeds=rows, use_cache=True, **({} if state is None else {self._cache: state})
        )
        return found.logits[:, -1], getattr(found, self._cache)


class _Quiet(nn.Module):
    """A model whose dropout stays off in training: a few weights learn from few reports, and must do so alike each time."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()

    def train(self, mode: bool = True) -> "_Quiet":
        return self


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise InputError(f"no language model in {folder}: it has no config.json; {_GIVE}")
    config = read_mapping(folder / "config.json")
    if "auto_map" in config:
        raise InputError(
            f"the language model in {folder} needs its own code (auto_map in config.json), and no code of a folder is run; give one "
            "that transformers knows"
        )
    if not [*folder.glob("*.safetensors")]:
        pickles = sorted(file.name for kind in ("*.bin", "*.pt", "*.pth") for file in folder.glob(kind))
        found = (
            f"only {pickles[0]}, a pickle, which can run code when it is read" if pickles else "no weights"
        )
        raise InputError(f"the language model in {folder} has {found}; {_GIVE}")
    return config


def _tokenizer(folder: Path) -> Any:
    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"the language model in {folder} has no tokenizer.json; {_GIVE}")
    library = require("tokenizers", extra="text")
    try:
        found = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # The library raises Exception itself.
        raise InputError(
            f"{folder / 'tokenizer.json'} cannot be read by the library tokenizers ({type(error).__name__}); {_GIVE}"
        ) from None
    found.no_truncation()
    found.no_padding()
    return found


def _end(folder: Path, config: dict[str, Any], tokenizer: Any) -> int:
    """Return the token that ends a text, by the configuration or by the tokenizer's."""
    value = config.get("eos_token_id")
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, int):
        return value
    path = folder / "tokenizer_config.json"
    name = read_mapping(path).get("eos_token") if path.is_file() else None
    name = name.get("content") if isinstance(name, dict) else name
    found = None if name is None else tokenizer.token_to_id(name)
    if found is None:
        raise InputError(
            f"the language model in {folder} does not say which token ends a text; give eos_token_id in config.json"
        )
    return int(found)


def _model(folder: Path) -> Any:
    transformers = require("transformers", extra="reports")
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, KeyError, OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"transformers does not know the model of {folder / 'config.json'} ({_short(error)}); {_GIVE}"
        ) from None
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, ())
    known = (causal,) if isinstance(causal, str) else tuple(causal)
    made = tuple(getattr(config, "architectures", None) or known)
    if not known or not set(made) & set(known) or getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"the model in {folder} is {made[0] if made else config.model_type}, no causal language model; {_GIVE}"
        )
    try:
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # whatever transformers and safetensors raise on a damaged file
        raise InputError(
            f"the weights in {folder} cannot be read ({_short(error)}); give the folder as transformers wrote it"
        ) from None
    for word in ("missing", "unexpected", "mismatched"):
        keys = sorted(str(key) for key in found.get(f"{word}_keys", ()))
        if keys:
            raise InputError(
                f"the weights in {folder} do not fit its config.json: {len(keys)} are {word}, e.g. {keys[0]}; give the folder as "
                "transformers wrote it"
            )
    return model.eval()


def _check_causal(model: Any, folder: Path) -> None:
    """Refuse a model in which what follows changes what is likely before."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        rows = torch.randn(1, 4, model.get_input_embeddings().weight.shape[1])
        other = rows.clone()
        other[:, -1] += 1
        first, second = (model(inputs_embeds=each, use_cache=False).logits[:, :-1] for each in (rows, other))
    if not torch.allclose(first, second, atol=1e-5):
        raise InputError(f"the model in {folder} sees what follows, and is no causal language model; {_GIVE}")


def _with_lora(model: Any, rank: int, seed: int) -> Any:
    try:
        peft = require("peft", extra="reports")
    except MissingDependencyError as error:
        raise MissingDependencyError(f"LoRA: {error}, or leave probes.reports.lora at 0") from None
    conv = any(type(part).__name__ == "Conv1D" for part in model.modules())
    config = peft.LoraConfig(
        r=rank, lora_alpha=_ALPHA * rank, target_modules="all-linear", fan_in_fan_out=conv
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return peft.inject_adapter_in_model(
            config, model
        ).eval()  # into the model itself: no wrapper's forward


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
