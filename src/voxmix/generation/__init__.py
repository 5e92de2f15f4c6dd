"""Reports that a model writes from features of a frozen encoder: an adapter, and a decoder from scratch or a language model."""
