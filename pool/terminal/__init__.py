"""`dmpool top`: how the pool does, in a terminal. It only looks, and says what it could not see."""
