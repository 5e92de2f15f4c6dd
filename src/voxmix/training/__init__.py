"""The one training loop: sessions, devices, optimizer, draws, states on disk and trackers."""
