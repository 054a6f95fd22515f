"""What is out of bounds on the command line is one line, before anything is read."""

import math

import pytest

from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.training.export_options import ExportOptions
from chunked_vla_ros.training.options import TrainOptions


@pytest.mark.parametrize(('options', 'given', 'line'), [
    (ExportOptions, {'candidates': -3}, '--candidates is -3, expected 0 to 256'),
    (ExportOptions, {'candidates': 1000}, '--candidates is 1000, expected 0 to 256'),
    (ExportOptions, {'candidate_noise': 7.0}, '--candidate-noise is 7.0, expected 0.0 to 1.0'),
    (ExportOptions, {'candidate_noise': math.nan}, '--candidate-noise is nan, expected 0.0 to'),
    (TrainOptions, {'workers': -5}, '--workers is -5, expected 0 to 64'),
    (TrainOptions, {'progress': 'nope'}, "--progress is 'nope', expected one of bar, json, none")])
def test_an_option_out_of_bounds_is_named_with_its_bounds(options, given, line):
    with pytest.raises(GraphError) as refused:
        options(**given)
    assert str(refused.value).startswith(line)
    options()    # the defaults are within
