"""What units and processing elements cost in logic: open synthesis flows, one row each."""
