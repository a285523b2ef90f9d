"""One file a step: `rNNNN_what.py` holds the revision NNNN. Their order is their number."""
