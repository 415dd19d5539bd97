"""The one training loop: batches → loss → step; optimiser, checkpoints, exact resume, metrics."""
