"""scmobench: a reproducible benchmark suite for integrating multimodal single-cell data."""

__version__ = "0.1.0"
