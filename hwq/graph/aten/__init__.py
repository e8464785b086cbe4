"""ATen operations as nodes of the graph, every argument of every overload."""
