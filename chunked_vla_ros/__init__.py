"""Chunked Vision-Language-Action policies for ROS 2."""

from pkgutil import extend_path

# rosidl generates msg/, srv/ and action/ into the installed twin of this package. Where the
# source tree comes first on sys.path (a shell in the repository root), both must be seen.
__path__ = extend_path(__path__, __name__)
