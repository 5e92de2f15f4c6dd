"""From a manifest to the cache of prepared arrays, its upkeep, and the way back to a file's own grid."""
