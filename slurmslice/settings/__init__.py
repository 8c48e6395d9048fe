"""Settings files: TOML files with values for options of the command line."""
