"""
Look at what runs policy bundles: which onnxruntime is installed and what it was built for.

Whether CUDA really starts is known once a bundle is loaded; ``policy_info`` says it then.
"""

from __future__ import annotations

from collections.abc import Sequence
import importlib
from importlib.metadata import packages_distributions

from chunked_vla_ros.doctor.finding import Finding, Level

MODULE = 'onnxruntime'
SUBJECT = 'onnxruntime'
INSTALL = 'pip install -r requirements/cpu.txt, or gpu.txt for CUDA'
# What can run a bundle, best first, as ONNX Runtime and as people call it.
PROVIDERS = {'TensorrtExecutionProvider': 'TensorRT', 'CUDAExecutionProvider': 'CUDA',
             'CPUExecutionProvider': 'CPU'}


def check_model_runtime(distributions: Sequence[str] | None = None,
                        providers: Sequence[str] | None = None) -> Finding:
    """Say which execution providers there are; two distributions in one place are a fault."""
    if distributions is None:
        distributions = sorted(set(packages_distributions().get(MODULE, [])))
    if len(distributions) > 1:
        names = ' '.join(distributions)
        return Finding(
            Level.BROKEN, SUBJECT, f'installed on top of each other: {", ".join(distributions)}',
            f'pip uninstall {names}; then {INSTALL}')
    if not distributions:
        return Finding(
            Level.INFO, SUBJECT, 'not installed: policy bundles cannot be run here', INSTALL)
    if providers is None:
        try:
            providers = importlib.import_module(MODULE).get_available_providers()
        except (ImportError, AttributeError) as error:
            # AttributeError: what is left after one of two distributions was uninstalled.
            return Finding(
                Level.BROKEN, SUBJECT, f'cannot be imported: {" ".join(str(error).split())}',
                f'pip uninstall {distributions[0]}; then {INSTALL}')
    known = [name for provider, name in PROVIDERS.items() if provider in providers]
    return Finding(Level.OK, SUBJECT, f'{distributions[0]} with {", ".join(known) or "nothing"}')
