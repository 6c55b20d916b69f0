"""Labels that every worker has without anybody setting them, so that selectors can name them."""

from collections.abc import Mapping

OS, ARCH, WORKER = "os", "arch", "worker-name"
"""The names under which GPUStack has them, so that deployments written for it go on working."""


def labels_of(own: Mapping[str, str], name: str, os: str, arch: str) -> Mapping[str, str]:
    """The worker's `own` labels and the built-in ones, which nobody can set to something else."""
    return {**own, OS: os, ARCH: arch, WORKER: name}
