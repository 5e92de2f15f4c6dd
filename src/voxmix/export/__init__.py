"""What leaves voxmix for other tools: encoders as hub folders, mixtures for data loaders."""
