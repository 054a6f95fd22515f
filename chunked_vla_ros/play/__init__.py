"""Publish recorded episodes as ROS topics: ``chunked-vla play``."""
