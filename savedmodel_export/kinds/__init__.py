"""Kinds of model that are served, a file each; `served.py` lists them."""
