"""Networks of masked autoencoders, their encoders, and weights under the names of other libraries."""

from voxmix.encoders.interchange import PretrainedEncoder, load_encoder

__all__ = ["PretrainedEncoder", "load_encoder"]
