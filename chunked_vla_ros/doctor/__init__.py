"""What of the environment is present, in force and fast enough, each finding with its remedy."""

from chunked_vla_ros.doctor.run import DoctorOptions, run_doctor

__all__ = ['DoctorOptions', 'run_doctor']
