"""The simulated robot; the only modules that import mujoco."""
