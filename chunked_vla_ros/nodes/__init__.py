"""Thin ROS 2 shells; the only modules that import rclpy."""
