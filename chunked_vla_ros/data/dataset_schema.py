"""
A dataset's columns as parquet has them: the rows' schema and that of ``meta/episodes``.

Knows LeRobot's layout, not what is in the columns.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
from typing import Any

from chunked_vla_ros.core.dataset_columns import cameras_of, Feature, IMAGE, VIDEO
from chunked_vla_ros.core.dataset_statistics import EXTREMES, STATISTICS
from chunked_vla_ros.data.dataset import DatasetError, need

# What an episode's entry says beyond LeRobot's own columns.
ENTRY_TEXTS = ('source', 'bag_id', 'outcome', 'action_source', 'verdict', 'facts')
# How tables are written: each page with a checksum, by which a flipped bit is found.
TABLE_OPTIONS: Mapping[str, Any] = {'compression': 'snappy', 'write_page_checksum': True}
WHOLE = ('int64', 'int32', 'int16', 'int8', 'uint8')


def rows_schema(features: Mapping[str, Feature]) -> Any:
    """
    Return the schema of the rows; video columns are no part of it.

    :raises DatasetError: a feature that this writer cannot hold.
    """
    arrow = need('pyarrow')
    fields = []
    for name, feature in features.items():
        kind, shape = feature['dtype'], tuple(feature['shape'])
        if kind == VIDEO:
            continue
        if kind == IMAGE:
            of = arrow.struct([('bytes', arrow.binary()), ('path', arrow.string())])
        elif len(shape) == 1:
            try:
                number = arrow.type_for_alias(kind)
            except ValueError as error:
                raise DatasetError(f'{name} is of type {kind!r}, expected numbers') from error
            # LeRobot reads a vector of one number as a number.
            of = number if shape == (1,) else arrow.list_(number, shape[0])
        else:
            raise DatasetError(f'{name} has shape {list(shape)}, expected one number')
        fields.append(arrow.field(name, of))
    return arrow.schema(fields)


def entry_schema(features: Mapping[str, Feature]) -> Any:
    """Return the schema of ``meta/episodes``."""
    arrow = need('pyarrow')
    whole, real, text = arrow.int64(), arrow.float64(), arrow.string()
    fields = [('episode_index', whole), ('tasks', arrow.list_(text)), ('length', whole),
              ('data/chunk_index', whole), ('data/file_index', whole),
              ('dataset_from_index', whole), ('dataset_to_index', whole)]
    for name, feature in features.items():
        if feature['dtype'] == VIDEO:
            fields += [(f'videos/{name}/chunk_index', whole), (f'videos/{name}/file_index', whole),
                       (f'videos/{name}/from_timestamp', real),
                       (f'videos/{name}/to_timestamp', real)]
    fields += [(name, text) for name in ENTRY_TEXTS]
    frames = cameras_of(dict(features))
    for name, feature in features.items():
        for statistic in STATISTICS:
            of = real
            if statistic == 'count' or (statistic in EXTREMES and feature['dtype'] in WHOLE):
                of = whole
            depth = 3 if name in frames and statistic != 'count' else 1
            for _ in range(depth):
                of = arrow.list_(of)
            fields.append((f'stats/{name}/{statistic}', of))
    fields += [('meta/episodes/chunk_index', whole), ('meta/episodes/file_index', whole)]
    return arrow.schema(fields)


def united(schemas: list[Any]) -> Any:
    """
    Return a schema that holds what each of ``schemas`` does.

    :raises DatasetError: a column has types that no third one holds.
    """
    arrow = need('pyarrow')
    try:
        return arrow.unify_schemas(
            [schema.remove_metadata() for schema in schemas], promote_options='permissive')
    except arrow.ArrowException as error:
        raise DatasetError(
            f'meta/episodes differ: {" ".join(str(error).split())[:200]}') from error


def tasks_table(tasks: list[str]) -> Any:
    """Return ``meta/tasks.parquet``, whose index is the task as pandas keeps it."""
    arrow = need('pyarrow')
    described = {
        'index_columns': ['task'], 'column_indexes': [{
            'name': None, 'field_name': None, 'pandas_type': 'unicode', 'numpy_type': 'object',
            'metadata': {'encoding': 'UTF-8'}}],
        'columns': [
            {'name': 'task_index', 'field_name': 'task_index', 'pandas_type': 'int64',
             'numpy_type': 'int64', 'metadata': None},
            {'name': 'task', 'field_name': 'task', 'pandas_type': 'unicode',
             'numpy_type': 'object', 'metadata': None}],
        'creator': {'library': 'pyarrow', 'version': arrow.__version__},
        'pandas_version': '2.2.0'}
    schema = arrow.schema([('task_index', arrow.int64()), ('task', arrow.string())],
                          metadata={'pandas': json.dumps(described)})
    return arrow.table([list(range(len(tasks))), tasks], schema=schema)
