"""What frozen encoders know: features, heads on them, and scores per case (``voxmix probe``)."""
