"""What an encoder run of the real sizes costs, counted without its memory: ViT-B/14 at 224 and 518 pixels.

    python benchmarks/encoder_cost.py [--tflops 100] [--draws 1000000] [--objectives mae,clip,dino] [--edges 224,518]

Every number is of :func:`voxmix.cost.encoder.encoder_cost` with the objective's own defaults (DINOv2's, CLIP's), so with eight
small views and 65,536 prototypes for dino, and CLIP's text transformer for clip. Hours are those of one device that sustains
the rate, one draw being one image with all its views. Prints Markdown; takes seconds and less than 2 GB.
"""

import argparse

from voxmix.backbone_rows import VitSettings
from voxmix.cost.encoder import encoder_cost
from voxmix.encoder_runs import EncoderSpec
from voxmix.objective_rows import objective_settings


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tflops", type=float, default=100.0)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--objectives", default="mae,clip,dino")
    parser.add_argument("--edges", default="224,518")
    given = parser.parse_args()
    print(
        "| objective | pixels | learning | GFLOP a draw | weights, gradients, optimizer, teacher | kept of a draw "
        f"| draws in 80 GB | hours for {given.draws:,} draws at {given.tflops:g} TFLOP/s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for edge in map(int, given.edges.split(",")):
        for name in given.objectives.split(","):
            spec = EncoderSpec(
                objective=name,
                objective_settings=objective_settings(name),
                backbone=VitSettings(image=edge, channels=3),
                samples=1,
                subset="",
                seed=0,
                budget=1,
            )
            found = encoder_cost(spec, tflops=given.tflops)
            assert found.seconds_per_draw is not None
            rows = int((80e9 - found.state_bytes) / found.draw_bytes)
            hours = found.seconds_per_draw * given.draws / 3600
            print(
                f"| `{name}` | {edge} | {found.parameters / 1e6:.0f} M | {found.flops_per_draw / 1e9:,.0f} "
                f"| {found.state_bytes / 1e9:.1f} GB | {found.draw_bytes / 1e9:.2f} GB | {rows} | {hours:.1f} |"
            )


if __name__ == "__main__":
    main()
