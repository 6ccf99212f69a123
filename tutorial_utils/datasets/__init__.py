"""Pictures, volumes and clips, as arrays and tensors with one documented layout."""
