"""Engines run array tasks: Slurm, or this machine. ``actions/open_run.py`` chooses one by its name.

A new engine is a package here that has what ``protocol.py`` describes.
"""
