"""What a program takes: cycles, traffic, energy, area."""
