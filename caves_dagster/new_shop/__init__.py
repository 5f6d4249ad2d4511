"""A shop of the user's own, written from events as they are: samples → proposal → files."""
