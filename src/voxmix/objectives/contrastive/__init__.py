"""Images against texts: CLIP, UniCL and SigLIP."""
