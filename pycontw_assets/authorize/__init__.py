"""Stage 4: who may enter the Gather Town venue."""
