"""Finetuning on clinical tasks under one protocol, and its scores. Needs torch and MONAI.

What is on disk, ``result.json`` of every run, is read without torch by :mod:`voxmix.scores`.
"""
