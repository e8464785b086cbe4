"""What a graph means: float, fake-quant and integer execution."""
