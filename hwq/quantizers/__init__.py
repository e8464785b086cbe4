"""Float tensor to codes and back, and how the array consumes the codes."""
