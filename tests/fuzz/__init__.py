"""Seeded cases of what users give by mistake, by the hundred thousand; see `__main__`."""
