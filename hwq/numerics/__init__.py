"""Bit-exact integer arithmetic: one unit per file, as reference, kernel and spec."""
