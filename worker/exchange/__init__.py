"""Import of models from timm, torchvision, transformers and the Hugging Face hub, and export to it."""
