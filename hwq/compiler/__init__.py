"""From a quantised graph to a program for one accelerator."""
