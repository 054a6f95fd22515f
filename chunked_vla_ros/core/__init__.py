"""Decisions without ROS, files or clocks: numpy, ruckig and transforms3d only."""
