"""Self-distillation: views of one image should look alike to a student and its slowly moving teacher."""

from voxmix.objectives.dino.objective import SelfDistillation

__all__ = ["SelfDistillation"]
