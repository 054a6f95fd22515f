"""Decisions without ROS, files or clocks: the standard library, numpy and ruckig only."""
