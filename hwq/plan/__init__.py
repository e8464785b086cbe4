"""Plans: what one image makes one accelerator do, step by step, with addresses."""
