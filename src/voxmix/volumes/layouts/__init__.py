"""What a user names as volumes, a folder, an archive or a public data set, to one manifest."""
