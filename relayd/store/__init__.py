"""Where accounts, keys and usage are kept: `base` says what a store can do, `sqlite` does it."""
