"""The graph: tensors, nodes and what is legal."""
