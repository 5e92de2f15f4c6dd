"""What is odd about volumes, before hours are spent on them."""
