"""
Run ``chunked-vla convert``: find the bags, convert them, print what became of each.

Ends with 0 only if a dataset is there and nothing was refused that was not to be skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
import re
import signal
import sys

from rich.console import Console

from chunked_vla_ros.convert.bags import find_bags
from chunked_vla_ros.convert.conversion import convert
from chunked_vla_ros.convert.journal import partial_folder
from chunked_vla_ros.convert.lines import progress_lines, say_end
from chunked_vla_ros.convert.options import ConvertOptions
from chunked_vla_ros.convert.plan import Conversion, Standing, StoppedError
from chunked_vla_ros.convert.screen import progress_bar, results_table, to_json
from chunked_vla_ros.graph.installation import shared_file
from chunked_vla_ros.graph.node_spec import PACKAGE

MISTAKE, INTERRUPTED = 2, 130

__all__ = ['ConvertOptions', 'run_convert']


def run_convert(options: ConvertOptions) -> int:
    """Convert what ``options`` say; return the exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        conversion = conversion_of(options)
        in_lines = options.progress == 'json'
        with (progress_lines(sys.stdout, conversion.bags) if in_lines
              else progress_bar(console, len(conversion.bags))) as tell:
            standing = convert(conversion, tell, lambda: False)
        if in_lines:
            say_end(sys.stdout, conversion.bags, standing, str(Path(options.out).absolute()))
        if options.json:
            Path(options.json).write_text(json.dumps(
                to_json(conversion.bags, standing, options.out), indent=2) + '\n')
    except (KeyboardInterrupt, StoppedError):
        print(f'stopped; what is done is kept in {partial_folder(Path(options.out))}: run the '
              'same again to go on', file=sys.stderr)
        return INTERRUPTED
    except ValueError as error:    # ConversionError, ContractError, DatasetError, BagError
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return MISTAKE
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        print(f'error: {where}{error.strerror or error}; what is done is kept, run the same '
              'again to go on', file=sys.stderr)
        return MISTAKE
    console.print(results_table(conversion.bags, standing))
    return _closing(options, conversion, standing)


def conversion_of(options: ConvertOptions) -> Conversion:
    """
    Return what ``options`` ask for.

    :raises ValueError: one line: an option that is missing or cannot be.
    """
    for name, value in (('BAGS', options.bags), ('--robot', options.robot),
                        ('--out', options.out)):
        if not value:
            raise ValueError(f'{name} is missing: chunked-vla convert BAGS --robot FILE --out DIR')
    bags = find_bags(options.bags)
    out = Path(options.out)
    return Conversion(
        bags, out.resolve() if options.append else out, options.robot, options.rules,
        options.encoding(len(bags)), options.processes(len(bags)), options.append,
        options.skip_bad, software_version())


def software_version() -> str:
    """Return the version in package.xml, which is its one home; '' where it is not installed."""
    path = shared_file('package.xml')
    match = path and re.search(r'<version>([^<]+)</version>', path.read_text(encoding='utf-8'))
    return f'{PACKAGE} {match[1].strip()}' if match else ''


def _closing(options: ConvertOptions, conversion: Conversion, standing: Standing) -> int:
    """Say in one line how it ended; return the exit code."""
    present = sum(result.present for result in standing.results.values())
    if standing.refused and not conversion.skip_bad:
        print(f'error: {standing.refused} of {len(conversion.bags)} bags refused, no dataset '
              'made: mend them, or leave them out with --skip-bad', file=sys.stderr)
        return 1
    if standing.published:
        print(f'dataset: {options.out}')
        return 0
    if present == len(conversion.bags):
        print(f'{options.out}: has all of these bags already')
        return 0
    print(f'error: no episode in any of {len(conversion.bags)} bags, no dataset made',
          file=sys.stderr)
    return 1
