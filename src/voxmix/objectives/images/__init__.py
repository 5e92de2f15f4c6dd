"""What objectives of encoders share: which image a draw gets, its views, the checks before and the result after."""
