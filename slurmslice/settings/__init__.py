"""Settings files: TOML that says what could be typed."""
