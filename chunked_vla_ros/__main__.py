"""Let ``python -m chunked_vla_ros`` do what ``chunked-vla`` does."""

from chunked_vla_ros.cli import main

if __name__ == '__main__':
    raise SystemExit(main())
