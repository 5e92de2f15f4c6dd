"""One file for each data set and each generic layout."""
