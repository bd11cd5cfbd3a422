"""The parts of an erasure that need room of their own."""
