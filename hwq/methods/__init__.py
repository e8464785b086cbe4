"""Post-training quantization, one method per file."""
