"""What transformers are made of: patches, attention, U-ViT, and weights that are loaded whole or refused."""
