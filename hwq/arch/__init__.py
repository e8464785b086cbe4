"""What an accelerator is."""
