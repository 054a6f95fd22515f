"""
Open an ONNX Runtime session on the best execution provider that really works here.

TensorRT falls back on CUDA and CUDA on the CPU; each step down is a line of text for the operator
and never fatal unless the CPU fails too. Knows nothing about bundles and observations.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass
import io
import re

import onnxruntime

from chunked_vla_ros.core.bundle_manifest import BundleError

ORT_NAMES = {'tensorrt': 'TensorrtExecutionProvider', 'cuda': 'CUDAExecutionProvider',
             'cpu': 'CPUExecutionProvider'}
CHAINS = {'auto': ('cuda', 'cpu'), 'cpu': ('cpu',), 'cuda': ('cuda', 'cpu'),
          'tensorrt': ('tensorrt', 'cuda', 'cpu')}
# ONNX Runtime's own lines on stderr would tear the node's log; what matters is in `note`.
FATAL_ONLY = 4
LONGEST_REASON = 240
# Where in ONNX Runtime's own source a failure was found; no news for who runs a robot.
SOURCE_LINE = re.compile(r'/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\) ')
REMEDY = 'see chunked-vla doctor'


@dataclass(frozen=True)
class OpenSession:
    """
    A session and what it runs on.

    :ivar provider: 'cpu', 'cuda' or 'tensorrt', as the session itself reports.
    :ivar note: Why it is not the provider that was asked for, one line; empty if it is.
    """

    session: onnxruntime.InferenceSession
    provider: str
    note: str


def open_session(model: bytes, choice: str, intra_op_threads: int = 0) -> OpenSession:
    """
    Return a session for the ONNX file ``model``.

    :param choice: 'auto' (CUDA where it works), 'cpu', 'cuda' or 'tensorrt'.
    :param intra_op_threads: Threads within one operator; 0 leaves it to ONNX Runtime.
    :raises BundleError: if not even the CPU can run the model.
    """
    if choice not in CHAINS:
        raise BundleError(
            f'execution provider {choice!r}, expected one of {", ".join(CHAINS)}')
    onnxruntime.set_default_logger_severity(FATAL_ONLY)
    built_in = onnxruntime.get_available_providers()
    notes: list[str] = []
    for provider in CHAINS[choice]:
        if ORT_NAMES[provider] not in built_in:
            # Nobody asked for CUDA by name, and this build never had it: nothing to report.
            if choice != 'auto':
                notes.append(f'{provider} is not in this build of onnxruntime')
            continue
        missing = '' if provider == 'cpu' else _preload_libraries()
        try:
            session = _create(model, provider, built_in, intra_op_threads)
        except Exception as error:
            reason = one_line(error)
            if provider == 'cpu':
                raise BundleError(f'policy.onnx cannot be loaded: {reason}') from error
            notes.append(f'{provider} failed: {reason}')
            continue
        if ORT_NAMES[provider] in session.get_providers():
            note = f'runs on {provider}: {"; ".join(notes)}; {REMEDY}' if notes else ''
            return OpenSession(session, provider, note)
        notes.append(f'{provider} could not be started: no '
                     f'{missing or "driver, device or library of it"}')
    raise BundleError(f'policy.onnx runs on no provider: {"; ".join(notes)}; {REMEDY}')


def one_line(error: BaseException) -> str:
    """Return what ``error`` says, in one line that is not too long to be read."""
    text = SOURCE_LINE.sub('', ' '.join(str(error).split())) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON - 3] + '...'


def _create(model: bytes, provider: str, built_in: list[str],
            intra_op_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    # Threads that spin between two runs would take the cores from the control loop beside them.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    # Never the runtime's own file format, which `onnx_file` does not look into.
    options.add_session_config_entry('session.load_model_format', 'ONNX')
    wanted = CHAINS['tensorrt'] if provider == 'tensorrt' else CHAINS[provider]
    # No fallback of its own: it prints, and hides why.
    return onnxruntime.InferenceSession(
        model, options, enable_fallback=0,
        providers=[ORT_NAMES[name] for name in wanted if ORT_NAMES[name] in built_in])


def _preload_libraries() -> str:
    """Load CUDA and cuDNN from their wheels, if installed so; return which could not be."""
    preload = getattr(onnxruntime, 'preload_dlls', None)
    if preload is None:
        return ''
    printed = io.StringIO()
    with redirect_stdout(printed):
        preload()
    return ', '.join(re.findall(r'^Failed to load ([^:\s]+)', printed.getvalue(), re.MULTILINE))
