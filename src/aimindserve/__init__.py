"""aiMindServe: one place to run AI models on one's own machines."""

__version__ = "0.1.0"
