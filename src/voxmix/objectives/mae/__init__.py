"""Masked reconstruction of volumes drawn from a mixture of domains: pretraining."""

from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.held_out_losses import TargetLoss
from voxmix.objectives.mae.train import train

__all__ = ["EvaluationSet", "TargetLoss", "train"]
