"""From files on disk to batches: manifests, balanced sampling, augmentation, checks."""
