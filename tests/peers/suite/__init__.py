"""The cases of tests/peers/run."""
