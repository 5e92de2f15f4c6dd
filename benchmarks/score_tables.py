"""Tables of what scores of encoders say, for the benchmarks of encoders: slopes, ratios, crossings, limits, forgetting."""

import math
import platform
import time

import torch

from voxmix.encoder_study import run_step


def laws_of(root):
    """Return the laws of the scores in a study's folder."""
    return run_step("scale", root)


def machine():
    """Return date and machine, in words."""
    return f"{time.strftime('%Y-%m-%d')}, {platform.machine()} {platform.system()}, one thread, torch {torch.__version__}"


def number(found, form="{:+.3f}"):
    """Return a number with its interval; a dash where it cannot be told."""
    if found is None or math.isnan(found.value):
        return "–"
    return f"{form.format(found.value)} ({form.format(found.low)} to {form.format(found.high)})"


def samples(found):
    """Return a number of images with its interval; 0 and infinity are beyond what was measured."""

    def one(value):
        return "beyond" if math.isinf(value) else "below" if value <= 0 else f"{value:,.0f}"

    return "–" if math.isnan(found.value) else f"{one(found.value)} ({one(found.low)} to {one(found.high)})"


def lines(laws):
    """Yield the tables of the laws, line by line."""
    yield (
        "| task | outside | objective | "
        + "error at each size | elasticity | a doubling takes | inverse | against its start or untrained |"
    )
    yield "|---|---|---|---|---:|---:|---|---:|"
    for one in laws.series:
        errors = ", ".join(f"{n:,}: {e:.3f}" for n, e in zip(one.samples, one.errors, strict=True))
        yield (
            f"| {one.task} ({one.metric}) | {'yes' if one.outside else ''} | {one.name} | {errors} | {number(one.elasticity)} "
            f"| {number(one.per_doubling, '{:+.1%}')} | {'yes' if one.inverse else ''} | {number(one.forgetting)} |"
        )
    yield ""
    yield "| task | reference | error |"
    yield "|---|---|---:|"
    for one in laws.references:
        yield f"| {one.task} | {one.name} | {one.error:.3f} ({one.low:.3f} to {one.high:.3f}) |"
    yield ""
    yield "| task | objective | reference | images to beat it | reach |"
    yield "|---|---|---|---:|---|"
    for one in laws.crossings:
        yield f"| {one.task} | {one.objective} {one.start} | {one.reference} | {samples(one.samples)} | {one.reach} |"
    yield ""
    yield "| task | first | second | difference of elasticities | ratio | one exponent with floors fits too |"
    yield "|---|---|---|---:|---:|---|"
    for one in laws.pairs:
        yield (
            f"| {one.task} | {one.first} | {one.second} | {number(one.difference)} | {number(one.ratio, '{:.2f}')} "
            f"| {'yes' if one.same_law_fits else 'no'} |"
        )
    yield ""
    yield "| task | objective | limit | twice the compute takes, fewest images | most images |"
    yield "|---|---|---|---:|---:|"
    for one in laws.limits:
        yield (
            f"| {one.task} | {one.objective} {one.start} | {one.limit} | {number(one.gain_small)} | {number(one.gain_large)} |"
        )
    yield ""
    yield from (f"- {sentence}" for sentence in laws.sentences())
    yield ""
    yield from (f"- note: {note}" for note in laws.notes)
