"""The plugin for napari: run folders as layers, and the review's queue beside them, with the same log.

What is asked and answered is `session.py`'s, without napari; `layers.py` shows it in a viewer, without Qt.
"""
