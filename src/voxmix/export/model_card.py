"""What a model card says of any encoder: what it learned from, what it was measured at, its limits, whom to cite."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxmix import __version__
from voxmix._io import read_mapping
from voxmix.errors import InputError, did_you_mean
from voxmix.runs.files import RESULT_FILE

_MEASURED = ("losses", "volumes", "unique_volumes")
_UNSTATED = "not stated"
_CITATION = f"""\
@misc{{voxmix,
  title = {{voxmix: measure how much of each 3D medical imaging domain belongs in a pretraining budget}},
  author = {{{{The voxmix developers}}}},
  note = {{version {__version__}}}
}}
@article{{knowledge-transfer-scaling-laws,
  title = {{Knowledge Transfer Scaling Laws for 3D Medical Imaging}},
  author = {{{{The authors of arXiv 2605.06859}}}},
  journal = {{arXiv:2605.06859}},
  year = {{2026}}
}}"""


def measured(run: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run was measured at and how many volumes it had: of its result, or of the card of an earlier export."""
    if not (run / RESULT_FILE).is_file():
        found = card.get("measured", {})
        return dict(found) if isinstance(found, dict) else {}
    result = read_mapping(run / RESULT_FILE)
    return {name: result[name] for name in _MEASURED if name in result}


def data_licenses(stated: Sequence[str], domains: Sequence[str]) -> dict[str, str]:
    """Return the license of each domain's data that was stated as ``DOMAIN=LICENSE``.

    Raises:
        InputError: another form, or a domain that the encoder did not learn from.
    """
    found = {}
    for text in stated:
        domain, equals, license = (part.strip() for part in text.partition("="))
        if not (domain and equals and license) or "\n" in license:
            raise InputError(
                f"a license of data is DOMAIN=LICENSE, got {text!r}; e.g. {domains[0]}=CC-BY-4.0"
            )
        if domain not in domains:
            raise InputError(f"no domain {domain!r} to state a license of; {did_you_mean(domain, domains)}")
        found[domain] = license
    return found


def mixture_table(card: Mapping[str, Any]) -> str:
    """Return the rows of what an encoder of a mixture learned from: amounts of volumes, never who is on them."""
    known, licenses = card.get("measured", {}), card.get("data_licenses", {})
    rows = [
        "| domain | weight | draws | training volumes | of these drawn | license of the data |",
        "|---|---|---|---|---|---|",
    ]
    for name, weight in card["mixture"].items():
        cells = (
            name,
            f"{weight:.1%}",
            f"{card['draws'][name]:,}",
            _count(known.get("volumes", {}).get(name)),
            _count(known.get("unique_volumes", {}).get(name)),
            licenses.get(name, _UNSTATED).replace("|", "\\|"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def loss_table(card: Mapping[str, Any]) -> str:
    """Return the section on losses on held-out volumes; "" where none are known."""
    losses = card.get("measured", {}).get("losses", {})
    if not losses:
        return ""
    rows = "\n".join(
        f"| {name} | {loss['loss']:.4f} | {_error(loss.get('loss_se'))} |"
        for name, loss in losses.items()
        if loss.get("loss") is not None
    )
    return f"""
## Losses

Mean squared error of hidden voxels, on crops of held-out persons' volumes in [0, 1]. They compare runs of the same network, masks
and preprocessing, and say nothing of a clinical task.

| domain | loss | standard error |
|---|---|---|
{rows}
"""


def limits(learned: str, *, budget: int) -> str:
    """Return the section on limits; ``learned`` says what the encoder saw."""
    return f"""
## Limits

- For research. It is no medical device, and no decision about a patient may rest on it.
- It saw {learned}, {budget:,} draws in all. Scanners, protocols, ages and diseases that these lack are unknown to it.
- It was never tested for fairness between groups of persons, nor whether its training data can be got back out of its weights.
- A head trained on its features must be tested on persons whom neither has seen.
"""


def citation() -> str:
    """Return the section that says what to cite."""
    return f"\n## Cite\n\n```bibtex\n{_CITATION}\n```\n"


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _error(value: float | None) -> str:
    """Return a standard error; one of a single crop is not known."""
    return "not known" if value is None else f"{value:.4f}"
