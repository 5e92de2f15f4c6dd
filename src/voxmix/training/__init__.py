"""Pretraining of masked autoencoders on mixtures of domains: one loop for every run."""

from voxmix.training.held_out_crops import EvaluationSet
from voxmix.training.held_out_losses import TargetLoss
from voxmix.training.train import train

__all__ = ["EvaluationSet", "TargetLoss", "train"]
