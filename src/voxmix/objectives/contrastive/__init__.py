"""Images against texts: CLIP, UniCL and SigLIP."""

from voxmix.objectives.contrastive.objective import Contrastive

__all__ = ["Contrastive"]
