"""One file of a scanner or archive to voxels and their place in the patient, or a reason why not."""
