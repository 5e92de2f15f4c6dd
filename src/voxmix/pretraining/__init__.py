"""Pretraining of masked autoencoders on mixtures of domains: one loop for every run."""

from voxmix.pretraining.evaluate import EvaluationSet
from voxmix.pretraining.interchange import PretrainedEncoder, load_encoder
from voxmix.pretraining.losses import TargetLoss
from voxmix.pretraining.train import train

__all__ = ["EvaluationSet", "PretrainedEncoder", "TargetLoss", "load_encoder", "train"]
